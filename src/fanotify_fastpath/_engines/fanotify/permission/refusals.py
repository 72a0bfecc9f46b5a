"""Why the kernel refused to guard something, in words."""

import errno
import os

from fanotify_fastpath.errors import (
    FastpathError,
    KernelRefused,
    NotPermitted,
    PathNotFound,
    UnsupportedFeature,
    UnsupportedFilesystem,
)


def refusal(code: int, text: str, path: bytes) -> FastpathError:
    """Turn what a guardian reports into the error to raise."""
    shown = f"cannot guard {os.fsdecode(path)!r}"
    if code in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"{shown}: permission events need CAP_SYS_ADMIN", code, path)
    if code in (errno.ENODEV, errno.EXDEV, errno.EOPNOTSUPP):
        return UnsupportedFilesystem(
            f"{shown}: its filesystem cannot be marked, or finds no files by handle", code, path
        )
    if code == errno.EINVAL:
        return UnsupportedFeature(
            f"{shown}: the kernel refuses these permission events there (PRE_ACCESS needs Linux 6.14 and a filesystem "
            "that supports it, and does not go with ONDIR)",
            code,
            path,
        )
    if code in (errno.ENOENT, errno.ESTALE):
        return PathNotFound(f"{shown}: it is gone", code, path)
    return KernelRefused(f"{shown}: {text}", code, path)
