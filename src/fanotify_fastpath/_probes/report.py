"""What the doctor says: plain records, the same on every machine."""

import os
from dataclasses import dataclass, field

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that was tried or looked up.

    :ivar name: what
    :ivar ok: it is there, or works; None when that cannot be told
    :ivar detail: what was found
    """

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class EngineReport:
    """
    Whether one engine can be used.

    :ivar name: as in ``engine=``
    :ivar available: it works for this process
    :ivar reason: why, or why not
    :ivar checks: what that was found by
    """

    name: str
    available: bool
    reason: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class PathReport:
    """
    Whether one path can be watched.

    :ivar path: absolute path
    :ivar fs_type: type of its filesystem
    :ivar source: device or other source of the filesystem
    :ivar mountpoint: where the filesystem is mounted
    :ivar can_watch: a subtree there can be watched by this process
    :ivar reason: why, or why not
    :ivar note: what cannot be seen there although it can be watched; empty when there is nothing to say
    """

    path: str
    fs_type: str
    source: str
    mountpoint: str
    can_watch: bool
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LiveReport:
    """
    What became of the canary: a file made by another process in a watched directory.

    :ivar directory: where
    :ivar seen: its event came
    :ivar latency_ns: nanoseconds from just before it was made until its event was here; None when it was not seen
    :ivar engine: name of the engine that watched
    :ivar reason: what happened
    """

    directory: str
    seen: bool
    latency_ns: int | None
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    Everything that was found out.

    :ivar version: of this package
    :ivar compiled: its inner modules are compiled to C; else they are interpreted, and slower
    :ivar kernel: release of the running kernel
    :ivar uid: effective user id
    :ivar chosen: the engine that ``engine="auto"`` takes; None when there is none
    :ivar engines: each engine
    :ivar capabilities: those that matter, and whether this process has them
    :ivar limits: the kernel's limits in ``/proc/sys/fs/fanotify``; None for one that this kernel does not have
    :ivar paths: the paths that were asked about
    :ivar live: the result of the live test, if it was asked for
    :ivar listing: where the handlers that are loaded for all can be read
    """

    version: str
    compiled: bool
    kernel: str
    uid: int
    chosen: str | None
    engines: tuple[EngineReport, ...]
    capabilities: dict[str, bool]
    limits: dict[str, int | None]
    paths: tuple[PathReport, ...] = ()
    live: LiveReport | None = field(default=None)
    listing: tuple[Check, ...] = ()

    def engine(self, name: str) -> EngineReport:
        """
        The report about one engine.

        :raises KeyError: no engine has that name
        """
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise KeyError(name)
