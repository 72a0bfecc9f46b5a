"""A program from the documentation, run on a filesystem of our own while something happens there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fanotify_fastpath._closing import Closing

DEADLINE_S = 20.0
#: SIGTERM ends the program as an administrator would, through every ``finally``
_PREAMBLE = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"


class Program(Closing):
    """
    Python code in a process of its own; its output goes to files, so that it never blocks.

    :param code: the code
    :param directory: where the output goes
    :param arguments: ``sys.argv[1:]``
    """

    def __init__(self, code: str, directory: Path, *arguments: str) -> None:
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-W", "error", "-c", _PREAMBLE + code, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=directory,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._stdout.read_text(errors="surrogateescape")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def poke(self, act: Callable[[], None], until: Callable[[str], bool] = bool) -> str:
        """
        Act again and again until the output is as wanted, or the program ends by itself.

        :return: the output
        """
        deadline = time.monotonic() + DEADLINE_S
        while self.is_running and not until(self.output):
            assert time.monotonic() < deadline, f"nothing came of it; output: {self.output!r}; errors: {self.errors}"
            act()
            time.sleep(0.05)
        return self.output

    @property
    def errors(self) -> str:
        """What it said on standard error."""
        return self._stderr.read_text(errors="surrogateescape")

    def end(self) -> None:
        """End it; see :meth:`finish`."""
        self._process.send_signal(signal.SIGTERM)
        self.finish()

    def finish(self) -> None:
        """Wait for its end; it must end well, and have said nothing on standard error."""
        status = self._process.wait(DEADLINE_S)
        assert (status, self.errors) == (0, ""), f"status {status}, errors: {self.errors}"

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.is_running:
            self._process.kill()
        self._process.wait()
