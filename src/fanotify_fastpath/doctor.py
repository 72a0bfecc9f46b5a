"""
What works here, and why the rest does not: found by trying, never by comparing version numbers.

    >>> import fanotify_fastpath as fan
    >>> report = fan.diagnose("/srv/data")  # doctest: +SKIP
    >>> report.engine("fanotify").available, report.paths[0].reason  # doctest: +SKIP
    (True, 'a filesystem mark was accepted')
"""

import os
from collections.abc import Iterable
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
    :ivar kernel: release of the running kernel
    :ivar uid: effective user id
    :ivar chosen: the engine that ``engine="auto"`` takes; None when there is none
    :ivar engines: each engine
    :ivar capabilities: those that matter, and whether this process has them
    :ivar limits: the kernel's limits in ``/proc/sys/fs/fanotify``; None for one that this kernel does not have
    :ivar paths: the paths that were asked about
    :ivar live: the result of the live test, if it was asked for
    """

    version: str
    kernel: str
    uid: int
    chosen: str | None
    engines: tuple[EngineReport, ...]
    capabilities: dict[str, bool]
    limits: dict[str, int | None]
    paths: tuple[PathReport, ...] = ()
    live: LiveReport | None = field(default=None)

    def engine(self, name: str) -> EngineReport:
        """
        The report about one engine.

        :raises KeyError: no engine has that name
        """
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise KeyError(name)


def diagnose(path: PathLike | Iterable[PathLike] | None = None, live: bool | PathLike = False) -> Report:
    """
    Find out what works for this process.

    The probes make groups and marks of their own on a filesystem of their own, and plain notification marks on the
    filesystems of *path*, which end with the probe. Nobody is ever made to wait for an answer.

    :param path: one or several paths of which to tell whether they can be watched
    :param live: make a canary file and see whether its event comes: in that directory, or with True in a temporary one
    :return: the findings
    :raises PathNotFound: a path does not exist
    :raises NotPermitted: *live*: this process may not watch there
    :raises UnsupportedFilesystem: *live*: that directory cannot be watched
    """
    # The probes are imported on use: most programs never call this.
    from fanotify_fastpath import __version__
    from fanotify_fastpath._probes import fanotify, kernel, paths, system
    from fanotify_fastpath._probes.live import run_canary

    if path is None:
        asked: list[PathLike] = []
    elif isinstance(path, (str, bytes, os.PathLike)):
        asked = [path]
    else:
        asked = list(path)
    path_reports = tuple(paths.probe(one) for one in asked)
    engines = (kernel.probe(), fanotify.probe())
    return Report(
        version=__version__,
        kernel=os.uname().release,
        uid=os.geteuid(),
        chosen=next((engine.name for engine in engines if engine.available), None),
        engines=engines,
        capabilities=system.capabilities(),
        limits=system.limits(),
        paths=path_reports,
        live=None if live is False else run_canary(None if live is True else live),
    )
