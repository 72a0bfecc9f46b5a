"""
What can go wrong with a machine, each with an exit code of its own.

::

    VmError                  125  could not be started: something is missing, or the kernel never reported
    ├── MissingTool          125
    ├── TimedOut             124  the command took longer than it may
    ├── KernelPanicked       123
    └── MachineGone          122  it ended, and nobody knows why

A command may use the same codes; the sentence on standard error tells them apart.
"""


class VmError(Exception):
    """The machine could not do its work."""

    exit_code = 125


class MissingTool(VmError):
    """A program that is not installed."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} not found: make setup installs it as root, or: apt-get install {package}")


class TimedOut(VmError):
    """The command took longer than it may."""

    exit_code = 124


class KernelPanicked(VmError):
    """The kernel inside panicked."""

    exit_code = 123


class MachineGone(VmError):
    """The machine ended before the command did."""

    exit_code = 122
