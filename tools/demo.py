"""
The demonstration of ``make run``: watch one subtree of a filesystem while a real workload runs inside and outside.

The filesystem is made in a loop file and removed at the end, also on Ctrl-C. The workload runs many times in three
ways, taking turns: with nobody watching, with a watch on the subtree, and with a plain filesystem mark that reports
everything. The third shows what the kernel would have had to deliver, because it does not count what ignore marks drop.
"""

import argparse
import contextlib
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fanotify_fastpath as fan
from fanotify_fastpath.lowlevel import FanotifyFile, InitFlag, MarkFlag, Mask, walk

EVENTS = Mask.ALL_EVENTS
#: what the watch asks the kernel for besides EVENTS, to follow the tree
_STRUCTURE = Mask.RENAME | Mask.DELETE | Mask.ONDIR
_IMAGE_BYTES = 512 << 20
_WORKLOAD = Path(__file__).with_name("demo_workload.py")
_NO_SOURCES = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
_IN_OWN_MOUNTS = "FANFP_DEMO_IN_OWN_MOUNTS"
_LINES_PER_S = 10
#: nothing came for so long after the workload: all was read
_QUIET_S = 0.2


class Stopped(Exception):
    """A signal asked us to stop."""


@dataclass
class Totals:
    """
    What was measured, over all rounds.

    :ivar seconds: time of each run of the workload: unwatched, watched, under a plain mark
    :ivar n_from_outside: delivered events that are decided and concern no path below the subtree; there must be none
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"unwatched": [], "watched": [], "plain": []})
    engine: str = ""
    n_delivered: int = 0
    n_skipped: int = 0
    n_read: int = 0
    n_plain: int = 0
    n_remembered: int = 0
    n_lost: int = 0
    n_from_outside: int = 0

    def ratio(self, way: str) -> float:
        """Median over the rounds of the time in this way by the time unwatched."""
        pairs = zip(self.seconds[way], self.seconds["unwatched"], strict=True)
        return statistics.median(seconds / unwatched for seconds, unwatched in pairs)


class Display:
    """
    Events for people: in each second a line for every program and type, up to a limit, and how many there were.

    :param base: directory that paths are shown relative to
    :param verbose: show every event instead
    """

    def __init__(self, base: Path, verbose: bool) -> None:
        self._base = f"{base}/"
        self._verbose = verbose
        self._until = 0.0
        self._shown: set[tuple[object, ...]] = set()
        self._n_hidden = 0
        self._n_total = 0

    def show(self, event: fan.Event) -> None:
        """Show one event, or count it."""
        self._n_total += 1
        if not self._verbose:
            self._turn()
            kind = (event.comm, event.crossing, event.names[-1])
            if kind in self._shown or len(self._shown) >= _LINES_PER_S:
                self._n_hidden += 1
                return
            self._shown.add(kind)
        path = self._short(event.path)
        if event.old_path is not None:
            path = f"{self._short(event.old_path)} -> {path}"
        notes = [
            note for note in (event.crossing and f"crossing {event.crossing}", event.undecided and "undecided") if note
        ]
        who = f"{event.comm or '?'}({event.tgid})"
        print(f"  {who:<16} {','.join(event.names):<36} {path} {' '.join(notes)}".rstrip())

    def end(self) -> None:
        """Say what was not shown."""
        if self._n_hidden:
            print(f"  ... and {self._n_hidden:,} more; {self._n_total:,} so far", flush=True)
        self._n_hidden = 0

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._until:
            self.end()
            self._shown.clear()
            self._until = now + 1

    def _short(self, path: str | None) -> str:
        text = "(path unknown)" if path is None else path.removeprefix(self._base)
        return text.encode("utf-8", "backslashreplace").decode()


class Demo:
    """
    The runs of the workload on one filesystem.

    :param mountpoint: the filesystem
    :param archive: sources that the workload unpacks
    """

    def __init__(self, mountpoint: Path, archive: Path, *, verbose: bool) -> None:
        self.totals = Totals()
        self.display = Display(mountpoint, verbose)
        self._mountpoint = mountpoint
        self._archive = archive
        self._inside = mountpoint / "project"
        self._outside = mountpoint / "elsewhere"
        for directory in (self._inside, self._outside):
            directory.mkdir()

    def run(self, n_rounds: int) -> None:
        """Run the workload in each way, once a round, in turns."""
        with self._workload():
            pass  # the first one fills the page cache; it does not count
        ways = [self.unwatched, self.watched, self.plain]
        for n in range(n_rounds):
            print(f"round {n + 1} of {n_rounds}", flush=True)
            for way in ways[n % 3 :] + ways[: n % 3]:
                way()

    def unwatched(self) -> None:
        """Nobody watches."""
        with self._workload() as process:
            self._finish(process, "unwatched")

    def watched(self) -> None:
        """The subtree is watched; its events are shown."""
        inside = f"{self._inside}/"
        with fan.watch(self._inside, events=EVENTS) as watched, self._workload() as process:
            group = watched.group
            while (events := group.read(timeout_s=_QUIET_S)) or process.poll() is None:
                for event in events:
                    self.display.show(event)
                    paths = [f"{path}/" for path in (event.path, event.old_path) if path is not None]
                    is_outside = bool(paths) and not any(path.startswith(inside) for path in paths)
                    self.totals.n_from_outside += is_outside and not event.undecided
            self._finish(process, "watched")
            self.totals.engine = group.engine
            counters = group.counters
        self.display.end()
        self.totals.n_delivered += counters.n_delivered
        self.totals.n_skipped += counters.n_skipped
        self.totals.n_read += counters.n_delivered + counters.n_skipped - counters.n_rescans
        self.totals.n_remembered += counters.n_remembered
        self.totals.n_lost += counters.n_lost

    def plain(self) -> None:
        """A filesystem mark reports everything to a listener that only counts."""
        flags = InitFlag.REPORT_DFID_NAME_TARGET | InitFlag.UNLIMITED_QUEUE | InitFlag.NONBLOCK | InitFlag.CLOEXEC
        with FanotifyFile.open(flags) as group:
            group.mark(MarkFlag.ADD | MarkFlag.FILESYSTEM, EVENTS | _STRUCTURE, self._mountpoint)
            with self._workload() as process:
                poller = select.poll()
                poller.register(group.fileno(), select.POLLIN)
                while poller.poll(_QUIET_S * 1000) or process.poll() is None:
                    self._count(group)
                self._finish(process, "plain")

    def _count(self, group: FanotifyFile) -> None:
        with contextlib.suppress(BlockingIOError):
            while buffer := os.read(group.fileno(), 1 << 18):
                self.totals.n_plain += sum(1 for _ in walk(buffer))

    @contextlib.contextmanager
    def _workload(self) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, *map(str, (_WORKLOAD, self._archive, self._inside, self._outside))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0)
        try:
            yield process
            if process.wait() != 0:
                raise SystemExit("the workload failed; what it said is above")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _finish(self, process: subprocess.Popen[str], way: str) -> None:
        seconds, _ = process.communicate()
        if process.returncode == 0:
            self.totals.seconds[way].append(float(seconds))


def pack_sources(archive: Path) -> int:
    """Pack the sources of Python's standard library; return how many files they are."""
    library = sysconfig.get_path("stdlib")
    n_files = 0
    with tarfile.open(archive, "w") as tar:
        for directory, subdirectories, files in os.walk(library):
            subdirectories[:] = sorted(set(subdirectories) - _NO_SOURCES)
            for name in sorted(files):
                if name.endswith(".py"):
                    path = os.path.join(directory, name)
                    tar.add(path, os.path.relpath(path, library))
                    n_files += 1
    return n_files


@contextlib.contextmanager
def loop_filesystem(directory: Path) -> Iterator[Path]:
    """Make an ext4 filesystem in a file and mount it; unmount it and remove the file in any case."""
    image, mountpoint = directory / "image", directory / "mnt"
    mountpoint.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
        image.unlink()  # the loop device keeps it until it is unmounted, however this program ends
        yield mountpoint
    finally:
        unmount(mountpoint)


def unmount(mountpoint: Path) -> None:
    """Unmount; if somebody is still in there, as soon as they have left."""
    for options in ([], [], ["--lazy"]):
        if not mountpoint.is_mount():
            return
        if subprocess.run(["umount", *options, mountpoint], stderr=subprocess.DEVNULL).returncode != 0:
            time.sleep(0.5)


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory and remove it at the end, unless something is still mounted in it."""
    directory = Path(tempfile.mkdtemp(prefix="fanfp-demo-"))
    try:
        yield directory
    finally:
        if not (directory / "mnt").is_mount():
            shutil.rmtree(directory)


def report(totals: Totals, n_files: int, n_rounds: int) -> str:
    """Write the summary."""
    seconds = {way: statistics.median(values) for way, values in totals.seconds.items()}
    watched, unwatched, plain = (f"{seconds[way]:.2f} s" for way in ("watched", "unwatched", "plain"))
    rows: list[tuple[str, int | float | str, str]] = [
        ("engine", totals.engine, ""),
        ("events delivered", totals.n_delivered, f"in {n_rounds} watched runs"),
        ("  from outside", totals.n_from_outside, "of the subtree; must be 0"),
        ("skipped in user space", totals.n_skipped, "read from the kernel, then found to be outside"),
        ("dropped in the kernel", totals.n_plain - totals.n_read, "measured, as the kernel does not count it:"),
        ("", "", f"a plain filesystem mark read {totals.n_plain:,} events, this one {totals.n_read:,};"),
        ("", "", "the kernel merges events, so the difference is approximate"),
        ("directories remembered", totals.n_remembered, "what happens to files in them is dropped in the kernel"),
        ("lost", totals.n_lost, ""),
        ("slowdown", totals.ratio("watched"), f"median of {n_rounds} pairs: {watched} watched, {unwatched} unwatched"),
        ("  by a plain mark", totals.ratio("plain"), f"{plain}; its listener only counts"),
    ]
    lines = [f"summary: {n_files} source files in each of two directories, all event types"]
    for name, value, note in rows:
        text = value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
        lines.append(f"  {name:<24}{text:>10}  {note}".rstrip())
    return "\n".join(lines)


def use_own_mounts() -> None:
    """
    Start again in a mount namespace of our own: what is mounted there goes when this program ends, even by SIGKILL.

    Where that is not allowed, all goes on as it is.
    """
    if _IN_OWN_MOUNTS in os.environ or shutil.which("unshare") is None:
        return
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        os.environ[_IN_OWN_MOUNTS] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def stop(signum: int, frame: object) -> None:
    """Leave by way of every ``finally``, and let no second signal disturb that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def main() -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(description="Watch one subtree of a loop filesystem while a workload runs.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of the workload in each way (default: 5)")
    parser.add_argument("--verbose", action="store_true", help="show every event")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the demonstration mounts a filesystem and marks it, which needs root: sudo make run", file=sys.stderr)
        return 1
    use_own_mounts()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        with temporary_directory() as directory:
            n_files = pack_sources(directory / "sources.tar")
            with loop_filesystem(directory) as mountpoint:
                print(f"ext4 in a loop file at {mountpoint}; watching project/, the workload also runs in elsewhere/")
                demo = Demo(mountpoint, directory / "sources.tar", verbose=options.verbose)
                demo.run(max(options.rounds, 3))
            print(report(demo.totals, n_files, max(options.rounds, 3)))
    except Stopped:
        print("stopped; the loop filesystem is unmounted and removed", file=sys.stderr)
        return 130
    except subprocess.CalledProcessError as exc:
        print(f"cannot make the loop filesystem: {exc.cmd[0]} ended with status {exc.returncode}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 1 if demo.totals.n_lost or demo.totals.n_from_outside else 0


if __name__ == "__main__":
    sys.exit(main())
