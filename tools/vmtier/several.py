"""Several machines at once, each run by a process of its own, whose lines are passed on with its name before them."""

import subprocess
import sys
import threading


class Running:
    """
    A process that runs a machine.

    :param name: stands before each of its lines
    :param command: the program and its arguments
    :ivar last_line: the last line that it printed
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.last_line = f"{name}: nothing was printed"
        self._name = name
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._pass_on, daemon=True)

    def start(self) -> None:
        """Start it, and begin to pass on what it prints."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader.start()

    def _pass_on(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                sys.stdout.write(f"{self._name}| {line}")
                sys.stdout.flush()
                self.last_line = line.strip() or self.last_line

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        assert self._process is not None
        code = self._process.wait()
        self._reader.join()
        return code

    def end(self) -> None:
        """Have it end its machine, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def run_all(commands: dict[str, list[str]]) -> int:
    """
    Run them all to their ends, then print the last line of each.

    :param commands: by name
    :return: the first exit code that is not 0
    """
    running = [Running(name, command) for name, command in commands.items()]
    try:
        for each in running:
            each.start()
        codes = [each.wait() for each in running]
    finally:
        for each in running:
            each.end()
    for each in running:
        print(each.last_line)
    return next((code for code in codes if code), 0)
