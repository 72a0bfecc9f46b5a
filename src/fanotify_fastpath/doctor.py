"""
What works here, and why the rest does not: found by trying, never by comparing version numbers.

    >>> import fanotify_fastpath as fan
    >>> report = fan.diagnose("/srv/data")  # doctest: +SKIP
    >>> report.engine("fanotify").available, report.paths[0].reason  # doctest: +SKIP
    (True, 'a filesystem mark was accepted')
"""

import os
from collections.abc import Iterable

from fanotify_fastpath._probes.report import Check, EngineReport, LiveReport, PathLike, PathReport, Report

__all__ = ["Check", "EngineReport", "LiveReport", "PathReport", "Report", "diagnose"]


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
    from fanotify_fastpath._engines.choose import AUTO
    from fanotify_fastpath._probes import daemon, fanotify, kernel, listing, paths, system
    from fanotify_fastpath._probes.live import run_canary

    if path is None:
        asked: list[PathLike] = []
    elif isinstance(path, (str, bytes, os.PathLike)):
        asked = [path]
    else:
        asked = list(path)
    path_reports = tuple(paths.probe(one) for one in asked)
    engines = (kernel.probe(), fanotify.probe(), daemon.probe())
    return Report(
        version=__version__,
        compiled=system.is_compiled(),
        kernel=os.uname().release,
        uid=os.geteuid(),
        chosen=next((name for name in AUTO for engine in engines if engine.name == name and engine.available), None),
        engines=engines,
        capabilities=system.capabilities(),
        limits=system.limits(),
        paths=path_reports,
        live=None if live is False else run_canary(None if live is True else live),
        listing=listing.probe(),
    )
