"""
What the tests of the daemon share: a daemon that is started and stopped, and clients in processes of their own that
have become ordinary users.
"""

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from children import become, fork, in_child
from fanotify_fastpath._bpf.maps import MapType
from fanotify_fastpath._closing import Closing

T = TypeVar("T")

SRC = Path(__file__).parents[2] / "src"
#: machines that try another engine are virtual, and slow
DEADLINE_S = 60.0 if "FP_DAEMON_ENGINE" in os.environ else 15.0
#: ordinary users, of whom the machine need not know
USER, OTHER_USER = 12345, 12346
#: a configuration by which everybody may connect
FOR_ALL = "[daemon]\nmode = 0o666\n"
#: which engine a test's daemon takes, unless the test says
ENGINE = os.environ.get("FP_DAEMON_ENGINE", "auto")
#: what that engine is called
NAME = "fanotify" if ENGINE == "auto" else ENGINE
#: what the daemon holds in the kernel for a group with marks of both scopes
GROUPS_EACH = 1 if NAME == "kernel" else 2


def only_fanotify(reason: str) -> pytest.MarkDecorator:
    """The test is about what only engine fanotify has."""
    return pytest.mark.skipif(NAME != "fanotify", reason=f"engine {NAME}: {reason}")


def only_kernel(reason: str) -> pytest.MarkDecorator:
    """The test is about what only engine kernel has."""
    return pytest.mark.skipif(NAME != "kernel", reason=f"engine {NAME}: {reason}")


def fails_on_kernel(reason: str) -> pytest.MarkDecorator:
    """A fault of engine kernel that is known. When it does not show any more, the test fails."""
    return pytest.mark.xfail(NAME == "kernel", reason=reason, strict=True, raises=AssertionError)


class Daemon(Closing):
    """
    A ``fanfpd`` of the test's own; ready when this returns.

    :param directory: where its socket, its configuration and its log are
    :param config: text of the configuration
    :param options: more of its command line
    :param before: a command that runs it
    :param pass_fds: descriptors that it inherits
    :param variables: more of its environment
    :ivar socket_path: where it listens
    """

    def __init__(
        self,
        directory: Path,
        config: str = FOR_ALL,
        *options: str,
        before: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        **variables: str,
    ) -> None:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        self.directory = directory
        self.socket_path = directory / "fanfpd.socket"
        self.config_path = directory / "fanfpd.toml"
        self.log_path = directory / "log"
        self.configure(config)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify_path = directory / "notify"
        notify_path.unlink(missing_ok=True)
        self._notices.bind(os.fspath(notify_path))
        self._notices.settimeout(DEADLINE_S)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*before, *self.command(*options)],
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(), "NOTIFY_SOCKET": os.fspath(notify_path), **variables},
            )
        self.await_notice("READY=1")

    def command(self, *options: str) -> list[str]:
        """The command line."""
        paths = ["--config", os.fspath(self.config_path), "--socket", os.fspath(self.socket_path)]
        return [sys.executable, "-m", "fanotify_fastpath._daemon.main", *paths, "--log-level", "debug", *options]

    def configure(self, config: str) -> None:
        """Write another configuration."""
        if ENGINE != "auto" and "[daemon]\n" in config and "engine" not in config:
            config = config.replace("[daemon]\n", f'[daemon]\nengine = "{ENGINE}"\n', 1)
        self.config_path.write_text(config)

    def reload(self) -> None:
        """Have it read its configuration anew, and wait until it has."""
        self.process.send_signal(signal.SIGHUP)
        _, moment = self.await_notice("RELOADING=1")
        assert 0 <= time.monotonic_ns() // 1000 - int(moment.removeprefix("MONOTONIC_USEC=")) < DEADLINE_S * 1e6
        self.await_notice("READY=1")

    def await_notice(self, line: str) -> list[str]:
        """Wait until it tells the service manager *line*; return all that it says with it."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if not select.select([self._notices], [], [], 0.05)[0]:
                if self.process.poll() is not None:
                    break
                continue
            lines = self._notices.recv(4096).decode().split("\n")
            if line in lines:
                return lines
        code = self.process.poll()
        self.close()
        raise AssertionError(f"the daemon (exit code {code}) did not say {line}; its log:\n{self.log()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def log(self) -> str:
        """All that it has logged."""
        return self.log_path.read_text()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def descriptors(self) -> dict[str, str]:
        """Its open descriptors, and what they are."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for fd in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    found[fd] = os.readlink(f"/proc/{self.pid}/fd/{fd}")
        return found

    def n_threads(self) -> int:
        """Number of its threads."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def n_groups(self) -> int:
        """Number of its fanotify groups, or of rings on engine kernel, also where only some thread of it is left."""
        return max((self._n_groups_of(tid) for tid in os.listdir(f"/proc/{self.pid}/task")), default=0)

    def _n_groups_of(self, tid: str) -> int:
        groups: set[str] = set()
        try:
            fds = os.listdir(f"/proc/{self.pid}/task/{tid}/fd")
        except FileNotFoundError:
            return 0
        for fd in fds:
            with contextlib.suppress(FileNotFoundError):
                what = os.readlink(f"/proc/{self.pid}/task/{tid}/fd/{fd}")
                if NAME == "kernel" and what == "anon_inode:bpf-map":
                    groups |= _ring_ids(Path(f"/proc/{self.pid}/task/{tid}/fdinfo/{fd}").read_text())
                elif NAME == "fanotify" and what == "anon_inode:[fanotify]":
                    groups.add(fd)
        return len(groups)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._notices.close()


def _ring_ids(info: str) -> set[str]:
    """The number of a map, if it is a ring; it may have several descriptors."""
    fields = dict(line.split(":", 1) for line in info.splitlines())
    return {fields["map_id"]} if int(fields["map_type"]) == MapType.RINGBUF else set()


def environment() -> dict[str, str]:
    """The environment for a child: the package can be found."""
    return {**os.environ, "PYTHONPATH": str(SRC), "PYTHONDONTWRITEBYTECODE": "1"}


def as_user(function: Callable[[], T], uid: int = USER) -> T:
    """Run *function* in a forked child that has become an ordinary user; return what it returns, or raise likewise."""

    def unprivileged() -> T:
        become(uid)
        return function()

    return in_child(unprivileged)


def open_up(path: Path, mode: int = 0o777) -> Path:
    """Let every user search the way to *path* as far as it is the tests' own, and use it as *mode* says."""
    path.chmod(mode)
    for parent in path.parents:
        if "pytest-of-" in str(parent) or "fanotify-fastpath-" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
    return path


class Puppet(Closing):
    """
    An object in a process of its own, forked from this one, that is an ordinary user.

    Calling a method here calls it there: arguments and results are pickled.

    :param make: makes the object, there, after it has become the user
    :param uid: the user; 0: it stays root
    """

    def __init__(self, make: Callable[[], object], uid: int = USER) -> None:
        child_reads, self._commands = os.pipe()
        self._answers, child_writes = os.pipe()
        self.pid = fork()
        if self.pid == 0:
            os.close(self._commands)
            os.close(self._answers)
            _serve(make, uid, child_reads, child_writes)
        os.close(child_reads)
        os.close(child_writes)
        self._reader = open(self._answers, "rb")  # noqa: SIM115
        try:
            self._result()
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.begin(name, *arguments, **named)
            return self.finish()

        return call

    def begin(self, name: str, *arguments: Any, **named: Any) -> None:
        """Call a method; :meth:`finish` waits for the end."""
        data = pickle.dumps((name, arguments, named))
        os.write(self._commands, len(data).to_bytes(4, "little") + data)

    def has_answered(self) -> bool:
        """Tell whether :meth:`finish` would not wait."""
        return bool(select.select([self._answers], [], [], 0)[0])

    def finish(self) -> Any:
        """Wait for what was begun, and return what it returned or raise what it raised."""
        return self._result()

    def _result(self) -> Any:
        if not select.select([self._answers], [], [], 2 * DEADLINE_S)[0]:
            pytest.fail("a client did not answer before the deadline")
        ok, value = pickle.load(self._reader)
        if not ok:
            raise value
        return value

    def kill(self) -> None:
        """End the process at once."""
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def close(self) -> None:
        """End the process, if that has not been done."""
        if self.pid:
            self.kill()

    def _end(self) -> None:
        os.waitpid(self.pid, 0)
        self.pid = 0
        os.close(self._commands)
        self._reader.close()


def _serve(make: Callable[[], object], uid: int, reader: int, writer: int) -> None:
    """In the child: do what is told until the other end is closed."""
    try:
        if uid:
            become(uid)
        with open(reader, "rb") as commands, open(writer, "wb") as answers:

            def answer(work: Callable[[], Any]) -> Any:
                value = None
                try:
                    value = work()
                    data = pickle.dumps((True, None if work is make else value))
                except BaseException as exc:
                    data = pickle.dumps((False, exc))
                answers.write(data)
                answers.flush()
                return value

            thing = answer(make)
            while size := commands.read(4):
                name, arguments, named = pickle.loads(commands.read(int.from_bytes(size, "little")))
                answer(lambda: getattr(thing, name)(*arguments, **named))  # noqa: B023
    finally:
        os._exit(0)
