"""One machine: QEMU with the files and ports that the scripts in ``guest`` expect, until the command's exit code."""

import os
import queue
import shlex
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from . import initramfs
from .errors import KernelPanicked, MachineGone, MissingTool, TimedOut, VmError
from .kernels import Kernel
from .shares import Share, die_with_parent

QEMU = "qemu-system-x86_64"
#: slow even for a host that is busy with something else
BOOT_DEADLINE_S = 240
#: how long the ports may take to run dry after QEMU is gone
DRAIN_DEADLINE_S = 10
ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
#: kernel messages that come with an error
N_LAST_LINES = 40
N_LINES_BEFORE = 5
COMPLAINTS = ("Kernel panic", "BUG: ", "Oops: ", "general protection fault")
STREAMS = ("out", "err")


@dataclass(frozen=True)
class Machine:
    """
    What a machine is made of; it runs one command.

    :ivar checkout: the working directory; what is written below it is lost
    :ivar shares: directories of the host that are writable at their own path
    :ivar is_counting: one CPU whose clock is the number of instructions, so that counts can be repeated
    :ivar has_systemd: it is the first process, the command is its service, and the system's directories are writable
    :ivar timeout_s: for the command, from when it starts; None: no limit
    :ivar prints_console: the kernel's messages go to standard error in the end
    """

    kernel: Kernel
    checkout: Path
    n_cpus: int = 2
    memory_mib: int = 2048
    is_counting: bool = False
    has_systemd: bool = False
    timeout_s: float | None = None
    shares: list[Path] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    prints_console: bool = False

    def run(self, command: list[str], stdout: BinaryIO, stderr: BinaryIO) -> int:
        """
        Boot, run a command, pass its output on as it comes, and end.

        :param command: without one, a shell on this terminal
        :return: the command's exit code, or 128 + the signal that ended it
        :raises VmError: the command did not get to its end
        :raises SystemExit: this process was asked to end, or nobody reads its output; the code is 128 + the signal
        """
        if os.geteuid() != 0:
            raise VmError("a machine shares this host's root directory: only root can")
        with ExitStack() as stack:
            events: queue.SimpleQueue[Event] = queue.SimpleQueue()
            stack.enter_context(_endings_put_into(events))
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanotify-fastpath-vm-")))
            (work / "initramfs").write_bytes(initramfs.build(self.kernel, self._luggage(command)))
            served = [Share("root", Path("/"), is_read_only=True)]
            served += [Share(f"share{n}", path) for n, path in enumerate(self.shares)]
            sockets = {share.tag: stack.enter_context(share.served(work)) for share in served}
            ports = {name: stack.enter_context(_port()) for name in (*STREAMS, "status")}
            if not command:
                stack.enter_context(_terminal_restored())
            arguments = [*self._arguments(work, sockets, is_terminal=not command), *_port_arguments(ports)]
            qemu = stack.enter_context(_started(arguments, work, ports, is_terminal=not command))
            watched = _Watched(qemu, work, events)
            watched.watch(ports, {"out": stdout, "err": stderr})
            try:
                return watched.outcome(self.timeout_s)
            finally:
                if self.prints_console:
                    stderr.write(_read(work / "console"))
                    stderr.flush()

    def _luggage(self, command: list[str]) -> dict[str, bytes]:
        """What the scripts in the machine read: shell variables, the command, where the shares belong."""
        size = os.get_terminal_size() if not command else os.terminal_size((80, 24))
        config = {
            "checkout": str(self.checkout),
            "release": self.kernel.release,
            "modules": str(self.kernel.modules),
            "n_shares": str(len(self.shares)),
            "is_terminal": str(int(not command)),
            "has_systemd": str(int(self.has_systemd)),
            "rows": str(size.lines),
            "columns": str(size.columns),
        }
        environment = {"LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"), "TERM": "dumb", **self.environment}
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
        program = f"exec {shlex.join(command or [os.environ.get('SHELL') or '/bin/sh', '-i'])}\n"
        luggage = {f"share{n}": os.fsencode(path) for n, path in enumerate(self.shares)}
        luggage["config"] = os.fsencode("".join(f"{name}={shlex.quote(value)}\n" for name, value in config.items()))
        luggage["command"] = os.fsencode("".join([*exports, program]))
        return luggage

    def _arguments(self, work: Path, sockets: dict[str, Path], is_terminal: bool) -> list[str]:
        """What is QEMU's, without the ports."""
        accelerator = (
            ["tcg,thread=single", "-icount", "shift=0,sleep=off"] if self.is_counting else ["tcg,thread=multi"]
        )
        arguments = [QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-cpu", "max"]
        arguments += ["-accel", *accelerator, "-smp", str(1 if self.is_counting else self.n_cpus)]
        memory = f"memory-backend-memfd,id=memory,size={self.memory_mib}M,share=on"
        arguments += ["-m", f"{self.memory_mib}M", "-object", memory, "-numa", "node,memdev=memory"]
        arguments += ["-kernel", str(self.kernel.image), "-initrd", str(work / "initramfs")]
        arguments += ["-append", "console=ttyS0 quiet panic=-1 oops=panic rdinit=/init"]
        arguments += ["-chardev", f"file,id=console,path={work / 'console'}", "-serial", "chardev:console"]
        for tag, path in sockets.items():
            arguments += ["-chardev", f"socket,id={tag},path={path}"]
            arguments += ["-device", f"vhost-user-fs-pci,queue-size=1024,chardev={tag},tag={tag}"]
        arguments += ["-device", "virtio-serial-pci,max_ports=8"]
        if is_terminal:
            arguments += ["-chardev", "stdio,id=terminal,signal=off", "-device", "virtconsole,chardev=terminal,nr=0"]
        return arguments


@dataclass(frozen=True)
class Event:
    """
    Something that happened to a machine.

    :ivar kind: "status" (a line from inside), "gone" (QEMU ended), "drained" (nothing more comes from a port),
        "closed" (nobody reads our output), or "signal"
    :ivar detail: the line, or the number of the signal
    """

    kind: str
    detail: str = ""


class _Watched:
    """A running QEMU and what threads tell about it."""

    def __init__(self, qemu: "subprocess.Popen[bytes]", work: Path, events: "queue.SimpleQueue[Event]") -> None:
        self._qemu = qemu
        self._work = work
        self._events = events
        self._n_streams = 0

    def watch(self, ports: dict[str, tuple[BinaryIO, BinaryIO]], streams: dict[str, BinaryIO]) -> None:
        """Begin to copy what comes from the ports, to read the status, and to wait for the end."""
        self._n_streams = len(streams)
        for name, stream in streams.items():
            self._in_thread(_copy, ports[name][0], stream, self._events)
        self._in_thread(_read_status, ports["status"][0], self._events)
        self._in_thread(self._wait)

    def _in_thread(self, function: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _wait(self) -> None:
        self._qemu.wait()
        self._events.put(Event("gone"))

    def outcome(self, timeout_s: float | None) -> int:
        """Wait for the command's exit code, or find out why none comes."""
        event = self._next(BOOT_DEADLINE_S)
        if event is None:
            raise VmError(f"the machine did not come up within {BOOT_DEADLINE_S} s{self._last_words()}")
        if event.kind == "status":
            event = self._next(timeout_s)
        if event is None:
            raise TimedOut(f"the command was ended after {timeout_s:g} s")
        if event.kind == "status":
            self._drain()
            return int(event.detail.removeprefix("exit "))
        if event.kind == "signal":
            raise SystemExit(128 + int(event.detail))
        if event.kind == "closed":
            raise SystemExit(128 + signal.SIGPIPE)
        self._drain()
        if b"Kernel panic" in _read(self._work / "console"):
            raise KernelPanicked(f"the kernel panicked{self._last_words()}")
        raise MachineGone(f"the machine ended before the command did{self._last_words()}")

    def _next(self, timeout_s: float | None) -> Event | None:
        """The next event that is more than the end of a stream; None: there was none in that time."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            event = self._take(deadline)
            if event is None or event.kind != "drained":
                return event

    def _take(self, deadline: float | None) -> Event | None:
        try:
            event = self._events.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        self._n_streams -= event.kind in ("drained", "closed")
        return event

    def _drain(self) -> None:
        """End QEMU, which has nothing more to do, and wait until all that it passed on is written."""
        self._qemu.kill()
        deadline = time.monotonic() + DRAIN_DEADLINE_S
        while self._n_streams:
            event = self._take(deadline)
            if event is None or event.kind == "signal":
                return

    def _last_words(self) -> str:
        """What the kernel said last, or around its first complaint; when it said nothing, what the programs said."""
        for name in ("console", "qemu.log", "root.log"):
            lines = _read(self._work / name).decode(errors="replace").replace("\r", "").splitlines()
            complaints = (number for number, line in enumerate(lines) if any(word in line for word in COMPLAINTS))
            first = max(0, next(complaints, len(lines) - N_LAST_LINES + N_LINES_BEFORE) - N_LINES_BEFORE)
            if lines:
                return "; last words:\n" + "\n".join(lines[first : first + N_LAST_LINES])
        return ""


@contextmanager
def _endings_put_into(events: "queue.SimpleQueue[Event]") -> Iterator[None]:
    """A signal that ends this process is an event like others, so that nothing is left behind."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    for number in ENDINGS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: events.put(Event("signal", str(number))))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _port() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A pipe from QEMU to this process."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as ours, os.fdopen(writing, "wb", 0) as its:
        yield ours, its


def _port_arguments(ports: dict[str, tuple[BinaryIO, BinaryIO]]) -> list[str]:
    arguments = []
    for number, (name, (_, its)) in enumerate(ports.items(), 1):
        arguments += ["-add-fd", f"fd={its.fileno()},set={number}"]
        arguments += ["-chardev", f"file,id=port-{name},path=/dev/fdset/{number},append=on"]
        arguments += ["-device", f"virtserialport,chardev=port-{name},name={name},nr={number}"]
    return arguments


@contextmanager
def _started(
    arguments: list[str], work: Path, ports: dict[str, tuple[BinaryIO, BinaryIO]], is_terminal: bool
) -> Iterator["subprocess.Popen[bytes]"]:
    """QEMU, started and ended."""
    if shutil.which(QEMU) is None:
        raise MissingTool(QEMU, "qemu-system-x86")
    with (work / "qemu.log").open("wb") as log:
        qemu = subprocess.Popen(
            arguments,
            stdin=None if is_terminal else subprocess.DEVNULL,
            stdout=None if is_terminal else log,
            stderr=log,
            pass_fds=[its.fileno() for _, its in ports.values()],
            start_new_session=not is_terminal,  # the terminal's signals are for this process
            preexec_fn=die_with_parent(),
        )
    for _, its in ports.values():
        its.close()
    try:
        yield qemu
    finally:
        qemu.kill()
        qemu.wait()


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """QEMU makes the terminal raw, and leaves it so when it is killed."""
    before = termios.tcgetattr(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _copy(source: BinaryIO, target: BinaryIO, events: "queue.SimpleQueue[Event]") -> None:
    try:
        while data := source.read(65536):
            target.write(data)
            target.flush()
        events.put(Event("drained"))
    except OSError:
        events.put(Event("closed"))


def _read_status(source: BinaryIO, events: "queue.SimpleQueue[Event]") -> None:
    with os.fdopen(os.dup(source.fileno())) as lines:
        for line in lines:
            events.put(Event("status", line.strip()))


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
