"""From an error number of libbpf or of the kernel to the error of this package."""

import errno

from fanotify_fastpath._bpf._cdefs import library
from fanotify_fastpath.errors import KernelRefused, NotPermitted


def refused(what: str, code: int, said: list[str] | None = None) -> KernelRefused | NotPermitted:
    """
    Make the error for a call that failed.

    :param what: what was tried, in the words of a message
    :param code: the error number, above 0
    :param said: what the library said about it
    """
    reason = library().why(code)
    text = f"{what}: {reason}" + "".join(f"\n  {line}" for line in said or ())
    if code in (errno.EPERM, errno.EACCES):
        return NotPermitted(text, code)
    return KernelRefused(text, code)
