"""Which engine serves a group."""

import contextlib

from fanotify_fastpath._engines.base import Engine, Forbidder
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._engines.kernel.ways import check
from fanotify_fastpath.errors import InvalidArgument, KernelRefused, NotPermitted, UnsupportedFeature

#: every name that ``engine=`` takes
ENGINE_NAMES = ("auto", "kernel", "fanotify")
#: what ``"auto"`` tries, the best first
AUTO: tuple[str, ...] = ("kernel", "fanotify")


def make_engine(
    name: str, *, include_self: bool, submounts: str, max_queued: int, with_tid: bool, merge: bool
) -> Engine:
    """
    Make the engine for a group.

    :param name: ``"auto"`` takes the first of :data:`AUTO` that works
    :raises UnsupportedFeature: the engine of that name is not available here, or cannot do without merging
    :raises NotPermitted: it needs capabilities that are missing
    :raises InvalidArgument: no engine has that name
    """
    if name not in ENGINE_NAMES:
        raise InvalidArgument(f"no engine is named {name!r}; there are {', '.join(ENGINE_NAMES)}")
    if submounts not in ("follow", "skip"):
        raise InvalidArgument(f"submounts is {submounts!r}; it is follow or skip")
    *better, last = AUTO if name == "auto" else (name,)
    for each in better:
        with contextlib.suppress(UnsupportedFeature, NotPermitted, KernelRefused):
            return _make(each, include_self, submounts == "follow", max_queued, with_tid, merge)
    return _make(last, include_self, submounts == "follow", max_queued, with_tid, merge)


def _make(name: str, include_self: bool, follow: bool, max_queued: int, with_tid: bool, merge: bool) -> Engine:
    if name == "kernel":
        return _kernel_engine(include_self, follow, max_queued, with_tid, merge)
    if not merge:
        raise UnsupportedFeature("merge=False: fanotify merges equal events as it likes; take engine='kernel'")
    return FanotifyEngine(include_self=include_self, follow_submounts=follow, max_queued=max_queued, with_tid=with_tid)


def _kernel_engine(include_self: bool, follow_submounts: bool, max_queued: int, with_tid: bool, merge: bool) -> Engine:
    check()
    try:
        from fanotify_fastpath._engines.kernel.engine import KernelEngine  # what it imports takes time
    except ImportError as exc:
        raise UnsupportedFeature(f"the kernel engine is not part of this installation: {exc}") from None
    return KernelEngine(
        include_self=include_self,
        follow_submounts=follow_submounts,
        max_queued=max_queued,
        with_tid=with_tid,
        merge=merge,
    )


def forbidder_of(engine: Engine) -> Forbidder:
    """
    What denies in the kernel, for the group of this engine.

    :raises UnsupportedFeature: the engine cannot
    """
    if engine.name != "kernel":
        raise UnsupportedFeature(f"engine {engine.name} denies nothing in the kernel; use engine='kernel'")
    from fanotify_fastpath._engines.kernel.engine import KernelEngine

    assert isinstance(engine, KernelEngine)
    engine.catch_up()
    return engine.forbidder
