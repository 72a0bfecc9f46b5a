"""The ways to see each call of ``fsnotify()``, and which of them need not be tried; light, for all groups ask."""

import errno
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass

from fanotify_fastpath._bpf.trying import FENTRY, ProgramType, is_forbidden
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.errors import NotPermitted, UnsupportedFeature

#: where perf or tracefs offer kprobes, as libbpf looks for them
_KPROBES = (
    "/sys/bus/event_source/devices/kprobe/type",
    "/sys/kernel/tracing/kprobe_events",
    "/sys/kernel/debug/tracing/kprobe_events",
)


@dataclass(frozen=True, slots=True)
class Way:
    """
    A way.

    :ivar name: of the object file
    :ivar program: its program at ``fsnotify()``
    :ivar handler_program: in objects of handlers, the one that it can call
    """

    name: str
    program: str
    handler_program: str


FENTRY_WAY = Way("fsnotify_fentry", "on_fsnotify", "handle_fentry")
KPROBE_WAY = Way("fsnotify_kprobe", "on_fsnotify_kp", "handle_kprobe")
#: the best first
WAYS = (FENTRY_WAY, KPROBE_WAY)


@functools.cache
def obstacle(way: Way) -> str | None:
    """
    Why a way cannot work here, None if it may.

    Nothing is attached, and what is loaded does nothing: that takes less than a millisecond.
    """
    program_type, attach_type = (ProgramType.TRACING, FENTRY) if way is FENTRY_WAY else (ProgramType.KPROBE, 0)
    if is_forbidden(program_type, attach_type):
        return f"programs for {'trampolines' if way is FENTRY_WAY else 'kprobes'} are not allowed (EPERM)"
    if way is KPROBE_WAY and not any(map(os.path.exists, _KPROBES)):
        return "the kernel has no kprobes, or sysfs and tracefs do not show them"
    return None


def check() -> None:
    """
    See whether it is worth while to try.

    :raises NotPermitted: capabilities are missing
    :raises UnsupportedFeature: nothing can work, with the reason for each way
    """
    if not capabilities.has("CAP_SYS_ADMIN"):
        raise NotPermitted(
            "the kernel engine needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN; without them engine fanotify can watch "
            "single directories that you may read",
            errno.EPERM,
        )
    obstacles = {way: obstacle(way) for way in WAYS}
    if all(obstacles.values()):
        raise unsupported(f"{way.name}: {reason}" for way, reason in obstacles.items())


def unsupported(reasons: Iterable[str]) -> UnsupportedFeature:
    """The error for when no way works."""
    return UnsupportedFeature(f"the kernel engine does not work here: {'; '.join(reasons)}; engine fanotify does")
