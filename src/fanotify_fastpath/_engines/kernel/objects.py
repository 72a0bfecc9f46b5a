"""The object files with the programs: which of them works here is found by trying."""

import errno
from importlib import resources

from fanotify_fastpath._bpf._abi import LAYOUTS
from fanotify_fastpath._bpf.libbpf import Link, Object, Program
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.errors import FastpathError, NotPermitted, UnsupportedFeature

#: ways to see each call of fsnotify(), the best first: object file and program
WAYS = (("fsnotify_fentry", "on_fsnotify"), ("fsnotify_kprobe", "on_fsnotify_kp"))


class Attached:
    """
    Programs that are loaded and attached.

    :ivar way: name of the object file
    :ivar object: it
    :ivar program: the one at fsnotify()
    """

    def __init__(self, way: str, program: str) -> None:
        self.way = way
        data = resources.files("fanotify_fastpath._bpf").joinpath("objects", f"{way}.bpf.o").read_bytes()
        self.object = Object.open_bytes(data, "fanfp")
        try:
            LAYOUTS.require(self.object.layouts("fp_"), f"BPF object {way}")
            self.object.load()
            self.program: Program = self.object.program(program)
            self._link: Link = self.program.attach()
        except BaseException:
            self.object.close()
            raise

    def close(self) -> None:
        """Detach and unload."""
        self._link.close()
        self.object.close()


def attach_best() -> Attached:
    """
    Load and attach the best that works here.

    :raises NotPermitted: capabilities are missing
    :raises UnsupportedFeature: nothing does, with the reason for each
    """
    if not capabilities.has("CAP_SYS_ADMIN"):
        raise NotPermitted(
            "the kernel engine needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN; without them engine fanotify can watch "
            "single directories that you may read",
            errno.EPERM,
        )
    reasons = []
    for way, program in WAYS:
        try:
            return Attached(way, program)
        except FileNotFoundError:
            reasons.append(f"{way}: this package was built without it (clang was missing)")
        except FastpathError as exc:
            reasons.append(f"{way}: {str(exc).splitlines()[0]}")
    raise UnsupportedFeature(f"the kernel engine does not work here: {'; '.join(reasons)}; engine fanotify does")
