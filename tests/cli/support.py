"""What the tests of the command line share: running it as another process, or as a plain user; events made by hand."""

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from children import become, fork
from fanotify_fastpath import Event, Mask, Process
from fanotify_fastpath._closing import Closing
from fanotify_fastpath.cli import main

SRC = Path(__file__).parents[2] / "src"
DEADLINE_S = 15.0
_USED = (
    *(f"cli.{name}" for name in ("watch", "guard", "handlers", "doctor", "human", "template")),
    *(f"_probes.{name}" for name in ("daemon", "fanotify", "kernel", "listing", "live", "paths", "system")),
)


def make_event(mask: Mask = Mask.CREATE, path: bytes | None = b"/srv/a/file", **fields: Any) -> Event:
    """An event as an engine would make it."""
    process = Process(fields.pop("uid", 0), fields.pop("comm", "sh"), fields.pop("exe", None))
    values: dict[str, Any] = {
        "tgid": 42,
        "dev": 65024,
        "inode": 7,
        "time_ns": 1_000_000_000,
        "process": process,
        **fields,
    }
    return Event(mask, path, **values)


def environment() -> dict[str, str]:
    """The environment for a child: the package can be found, and nothing is coloured by chance."""
    return {**os.environ, "PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1"}


def command(*arguments: str | bytes | Path) -> list[str | bytes | Path]:
    return [sys.executable, "-m", "fanotify_fastpath", *arguments]


def run_cli(*arguments: str | bytes | Path, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end."""
    values: dict[str, Any] = {"capture_output": True, "timeout": DEADLINE_S, "env": environment(), **options}
    done: subprocess.CompletedProcess[bytes] = subprocess.run(command(*arguments), check=False, **values)
    return done


class Running(Closing):
    """A ``fanfp`` that runs; ready once its first line on standard error was printed."""

    def __init__(self, *arguments: str | bytes | Path, **options: Any) -> None:
        pipe = subprocess.PIPE
        values: dict[str, Any] = {"stdout": pipe, "stderr": pipe, "env": environment(), **options}
        self.process: subprocess.Popen[bytes] = subprocess.Popen(command(*arguments), **values)
        assert self.process.stderr is not None
        timer = threading.Timer(DEADLINE_S, self.process.kill)
        timer.start()
        self.ready_line: bytes = self.process.stderr.readline()
        timer.cancel()
        if not self.ready_line.startswith((b"watching ", b"guarding ")):
            self.close()
            raise AssertionError(f"it did not begin, it said {self.ready_line!r}")

    def line(self) -> bytes:
        """The next line of output."""
        assert self.process.stdout is not None
        timer = threading.Timer(DEADLINE_S, self.process.kill)
        timer.start()
        line: bytes = self.process.stdout.readline()
        timer.cancel()
        timer.join()
        return line

    def end(self, signal: int | None = None) -> tuple[int, bytes, bytes]:
        """Send a signal, if given; wait, and return exit code, output and standard error."""
        if signal is not None:
            self.process.send_signal(signal)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def touch(*paths: Path | bytes) -> None:
    """Make files, as another process than a ``fanfp`` that runs in its own."""
    for path in paths:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def run_as(uid: int, arguments: Iterable[str]) -> tuple[int, str, str]:
    """
    Run ``main`` in a child of this process that has become a plain user (its interpreter may lie where that user cannot
    read, so everything is imported before).
    """
    from fanotify_fastpath._probes import daemon, fanotify, kernel, listing, live, paths, system  # noqa: F401

    for module in _USED:
        importlib.import_module(f"fanotify_fastpath.{module}")
    return _capture(lambda: become(uid), lambda: main(list(arguments)))


def _capture(prepare: Callable[[], None], work: Callable[[], int]) -> tuple[int, str, str]:
    """Fork, and return the exit code, standard output and standard error of *work*."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    child = fork()
    if child == 0:
        code = 99
        try:
            os.dup2(out_write, 1)
            os.dup2(err_write, 2)
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            prepare()
            code = work()
            sys.stdout.flush()
        finally:
            os._exit(code)
    os.close(out_write)
    os.close(err_write)
    try:
        with open(out_read) as out, open(err_read) as err:
            texts = out.read(), err.read()
    finally:
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), *texts
