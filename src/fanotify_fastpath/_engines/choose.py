"""Which engine serves a group."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fanotify_fastpath._engines.base import Engine, Forbidder
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._engines.fanotify.kernel_group import may_mark_filesystems
from fanotify_fastpath._engines.kernel.ways import check
from fanotify_fastpath._wire.addresses import socket_path
from fanotify_fastpath.errors import (
    FastpathError,
    InvalidArgument,
    KernelRefused,
    NotPermitted,
    UnsupportedFeature,
)

#: every name that ``engine=`` takes
ENGINE_NAMES = ("auto", "kernel", "fanotify", "daemon")
#: what ``"auto"`` tries, the best first
AUTO: tuple[str, ...] = ("kernel", "fanotify", "daemon")
#: the end of sentences about what the daemon does for nobody
TAKES_PRIVILEGE: Final = "it takes CAP_SYS_ADMIN, and engine='fanotify' or 'kernel'"


@dataclass(frozen=True, slots=True)
class _Options:
    """What a group is to be like."""

    include_self: bool
    follow_submounts: bool
    max_queued: int
    with_tid: bool
    merge: bool


def make_engine(
    name: str, *, include_self: bool, submounts: str, max_queued: int, with_tid: bool, merge: bool
) -> Engine:
    """
    Make the engine for a group.

    :param name: ``"auto"`` takes the first of :data:`AUTO` that works; one that can watch single directories only comes
        last
    :raises UnsupportedFeature: the engine of that name is not available here, or cannot do without merging
    :raises NotPermitted: it needs capabilities that are missing, or the daemon does not serve this user
    :raises LimitReached: the daemon gives this user no more
    :raises InvalidArgument: no engine has that name
    """
    if name not in ENGINE_NAMES:
        raise InvalidArgument(f"no engine is named {name!r}; there are {', '.join(ENGINE_NAMES)}")
    if submounts not in ("follow", "skip"):
        raise InvalidArgument(f"submounts is {submounts!r}; it is follow or skip")
    options = _Options(include_self, submounts == "follow", max_queued, with_tid, merge)
    return _best_engine(options) if name == "auto" else _ENGINES[name](options)


def _best_engine(options: _Options) -> Engine:
    for name in AUTO:
        with contextlib.suppress(UnsupportedFeature, NotPermitted, KernelRefused):
            if name == "daemon":
                return _daemon_if_there(options)
            if name == "fanotify" and not may_mark_filesystems():
                continue
            return _ENGINES[name](options)
    return _fanotify_engine(options)


def _daemon_if_there(options: _Options) -> Engine:
    if not os.path.exists(socket_path()):
        raise UnsupportedFeature("no daemon is there")
    try:
        return _daemon_engine(options)
    except FastpathError as exc:
        raise NotPermitted("the daemon does not serve this user") from exc


def _fanotify_engine(options: _Options) -> Engine:
    if not options.merge:
        raise UnsupportedFeature("merge=False: fanotify merges equal events as it likes; take engine='kernel'")
    return FanotifyEngine(
        include_self=options.include_self,
        follow_submounts=options.follow_submounts,
        max_queued=options.max_queued,
        with_tid=options.with_tid,
    )


def _kernel_engine(options: _Options) -> Engine:
    check()
    try:
        from fanotify_fastpath._engines.kernel.engine import KernelEngine  # what it imports takes time
    except ImportError as exc:
        raise UnsupportedFeature(f"the kernel engine is not part of this installation: {exc}") from None
    return KernelEngine(
        include_self=options.include_self,
        follow_submounts=options.follow_submounts,
        max_queued=options.max_queued,
        with_tid=options.with_tid,
        merge=options.merge,
    )


def _daemon_engine(options: _Options) -> Engine:
    from fanotify_fastpath._engines.daemon.engine import DaemonEngine  # likewise

    return DaemonEngine(
        include_self=options.include_self,
        follow_submounts=options.follow_submounts,
        max_queued=options.max_queued,
        with_tid=options.with_tid,
        merge=options.merge,
    )


_ENGINES: Final[dict[str, Callable[[_Options], Engine]]] = {
    "kernel": lambda options: _kernel_engine(options),
    "fanotify": lambda options: _fanotify_engine(options),
    "daemon": lambda options: _daemon_engine(options),
}


def needs_right(engine: Engine) -> bool:
    """Tell whether handlers may be for administrators: not where they choose among what the user is given anyway."""
    return engine.name != "daemon"


def check_answers(engine: Engine) -> None:
    """
    Check that a group of this engine may be asked for permission.

    :raises NotPermitted: it may not
    """
    if engine.name == "daemon":
        raise NotPermitted(f"permission events are not given to users of the daemon; {TAKES_PRIVILEGE}")


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
