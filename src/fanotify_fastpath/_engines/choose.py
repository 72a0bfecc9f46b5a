"""Which engine serves a group."""

from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath.errors import InvalidArgument, UnsupportedFeature

#: every name that ``engine=`` takes
ENGINE_NAMES = ("auto", "kernel", "fanotify")


def make_engine(name: str, *, include_self: bool, submounts: str, max_queued: int, with_tid: bool) -> Engine:
    """
    Make the engine for a group.

    :param name: ``"auto"`` takes the best that works here
    :raises UnsupportedFeature: the engine of that name is not available here
    :raises InvalidArgument: no engine has that name
    """
    if name not in ENGINE_NAMES:
        raise InvalidArgument(f"no engine is named {name!r}; there are {', '.join(ENGINE_NAMES)}")
    if name == "kernel":
        raise UnsupportedFeature("the kernel engine is not part of this version; use engine fanotify, or auto")
    if submounts not in ("follow", "skip"):
        raise InvalidArgument(f"submounts is {submounts!r}; it is follow or skip")
    return FanotifyEngine(
        include_self=include_self, follow_submounts=submounts == "follow", max_queued=max_queued, with_tid=with_tid
    )
