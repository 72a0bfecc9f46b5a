"""Numbers of devices: the kernel's own, which records tell, and those that ``stat`` tells."""

import os


def kernel_dev(dev: int) -> int:
    """Turn a device number as :func:`os.makedev` makes it into the kernel's own."""
    return os.major(dev) << 20 | os.minor(dev)


def user_dev(dev: int) -> int:
    """The opposite of :func:`kernel_dev`."""
    return os.makedev(dev >> 20, dev & 0xFFFFF)
