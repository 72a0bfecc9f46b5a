"""All ways to watch that are compared, with their versions."""

import contextlib
import os
import subprocess
import sys
from importlib import metadata

import fanotify_fastpath
from bench.listeners import Condition, Start, command, nobody, plain, python
from bench.outputs import count_fatrace, count_notify
from fanotify_fastpath._probes.system import is_compiled

_FANFP = "import sys; from fanotify_fastpath.cli import main; sys.exit(main())"


def conditions() -> dict[str, Condition]:
    """All conditions, by name; what is not installed has no version."""
    ours = fanotify_fastpath.__version__ + (", compiled" if is_compiled() else ", not compiled")
    kernel = f"Linux {os.uname().release}"
    notify = _tool("inotifywait", "inotify-tools")
    established = "Watches established"
    inotifywait = ["inotifywait", "-m", "-r", "{root}"]
    # line by line, as on a terminal: by itself it does not flush its output when that is a pipe or a file
    fsnotifywait = ["stdbuf", "-oL", "fsnotifywait", "-m", "-S", "{mount}"]
    fanfp = [sys.executable, "-c", _FANFP, "watch", "--json", "{root}"]
    everything: list[tuple[str, Start, str | None]] = [
        ("nobody", nobody, kernel),
        ("fanfp", python("fanfp"), ours),
        ("fanfp-all", python("fanfp-all"), ours),
        ("fanfp-async", python("fanfp-async"), ours),
        ("fanfp --json", command(fanfp, "watching", count_notify), ours),
        ("plain fanotify", plain("changes"), f"listener.c, {kernel}"),
        ("plain fanotify-all", plain("all"), f"listener.c, {kernel}"),
        ("plain fanotify-all, ignoring", plain("all", is_ignoring=True), f"listener.c, {kernel}"),
        ("inotifywait -r", command(inotifywait, established, count_notify), notify),
        ("fsnotifywait -S", command(fsnotifywait, established, count_notify), notify),
        ("fatrace", command(["fatrace", "-c"], None, count_fatrace), _tool("fatrace", "fatrace")),
        ("watchdog", python("watchdog"), _distribution("watchdog")),
        ("watchfiles", python("watchfiles"), _distribution("watchfiles")),
        ("asyncinotify", python("asyncinotify"), _distribution("asyncinotify")),
    ]
    return {name: Condition(name, start, version) for name, start, version in everything}


def _distribution(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _tool(tool: str, package: str) -> str | None:
    """Version of a Debian package, or of the command itself elsewhere; None when it is not installed."""
    for query in (["dpkg-query", "-W", "-f", "${Version}", package], [tool, "--version"]):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            output = subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()
            if output:
                return output[-1]
    return None
