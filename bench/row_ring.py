"""Further row: events handed to Python from the ring of a program in the kernel, against a Python reader of inotify."""

import asyncio
import os
import platform
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread, format_ns, format_ratio, ratios, rotate
from fanotify_fastpath import Event, Mask, Process
from fanotify_fastpath._bpf.decoding import Decoder
from fanotify_fastpath._bpf.libbpf import Object, Program
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath.errors import FastpathError

_PEER = "asyncinotify"
_EVENTS, _BATCHES = "fanfp ring: events", "fanfp ring: batches"
_LIMITS = {_EVENTS: 5, _BATCHES: 20}
_TITLE = "Events handed to Python from a full ring or queue"
#: and what is done in each
_MEASURES = {
    "handed over": "each event is an object (ours has its path, the peer's makes it when asked), or in a batch with the"
    " columns mask, tgid and boot_ns",
    "looked at": "creations are counted and every path is taken: of objects as str, of batches as bytes",
}
_N_FILES = 5333
#: three for each file; inotify's queue holds 16,384
_N_EVENTS = 3 * _N_FILES
_N_DRAINS = {_EVENTS: 20, _BATCHES: 20, _PEER: 2}
_BATCH = 1024
_CREATE = Mask.CREATE
_SOURCES = Path(__file__).parent

Rounds = list[dict[str, float]]


def ring(run: Run) -> list[Table]:
    """Fill ring and queue, and take the time that emptying them takes."""
    names = [_EVENTS, _BATCHES, *run.present([_PEER])]
    times: dict[str, Rounds] = {measure: [{} for _ in range(run.n_rounds)] for measure in _MEASURES}
    try:
        with _source(run.place.work) as source:
            for number in range(run.n_rounds):
                for name in rotate(names, number):
                    for measure in _MEASURES:
                        times[measure][number][name] = _measure(run, source, name, measure)
    except (FastpathError, ImportError, OSError, subprocess.CalledProcessError) as exc:
        return [Table(_TITLE, [""], notes=[f"left out: {exc}"])]
    tables = [_table(names, measure, times[measure]) for measure in _MEASURES]
    tables[-1].notes.append(
        f"{_N_EVENTS:,} events of {_N_FILES:,} files made, written and closed wait; only reading them is timed"
    )
    tables[-1].notes.append(
        f"{_PEER}: Inotify, faster than RecursiveInotify; a watch for each directory, the event types of its README"
    )
    return tables


def _table(names: list[str], measure: str, times: Rounds) -> Table:
    table = Table(f"{_TITLE}, {measure}: medians", ["", "an event", "events/s", f"times {_PEER}"])
    for name in names:
        ns, relative = Spread.of(one[name] for one in times).median, ratios(times, _PEER, name)
        table.lines.append(
            [name, format_ns(ns), f"{1e9 / ns:,.0f}", format_ratio(Spread.of(relative)) if relative else ""]
        )
        if relative and name in _LIMITS:
            found, text = Spread.of(relative), f"{name}, {measure}: at least {_LIMITS[name]} times {_PEER}"
            table.targets.append(Target(text, format_ratio(found), found.median >= _LIMITS[name]))
    table.notes = [_MEASURES[measure]]
    table.figures = {"ns_per_event": times}
    return table


@dataclass(frozen=True, slots=True)
class _Source:
    """The program that fills the ring, and who reads it."""

    program: Program
    reader: RingReader
    decoder: Decoder[Event]

    def fill(self) -> None:
        """Put all records into the ring."""
        n_written = self.program.run(struct.pack("=Q", _N_EVENTS)).value
        if n_written != _N_EVENTS:
            raise RuntimeError(f"only {n_written} of {_N_EVENTS} records found room")


@contextmanager
def _source(work: str) -> Iterator[_Source]:
    made = f"{work}/records.bpf.o"
    headers = ["-isystem", f"/usr/include/{platform.machine()}-linux-gnu", f"-I{_SOURCES.parent}/bpf/include"]
    source = str(_SOURCES / "records.bpf.c")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", *headers, "-c", source, "-o", made], check=True)
    decoder = Decoder(
        Event,
        "kernel",
        find_mask=Mask,
        find_place=lambda dev, mount_id, directory: os.fsencode(work) + directory,
        find_process=lambda tgid, uid, comm: Process(uid, os.fsdecode(comm)),
        find_dev=lambda dev: os.makedev(dev >> 20, dev & 0xFFFFF),
        find_crossing=lambda dev, before, after: None,
        make_special=lambda record, n_lost: None,
    )
    with Object.open_file(made) as program_file:
        program_file.load()
        with program_file.map("ring").open() as ring_map, RingReader.of_map(ring_map) as reader:
            yield _Source(program_file.program("write_records"), reader, decoder)


def _measure(run: Run, source: _Source, name: str, measure: str) -> float:
    """Nanoseconds for each event."""
    is_looking = measure == "looked at"
    if name == _PEER:
        return sum(_inotify(f"{run.place.mount}/ring", is_looking) for _ in range(_N_DRAINS[name])) / _N_DRAINS[name]
    drain: Callable[[_Source], int] = {
        (_EVENTS, False): _take_events,
        (_EVENTS, True): _look_at_events,
        (_BATCHES, False): _take_batches,
        (_BATCHES, True): _look_at_batches,
    }[name, is_looking]
    took_ns = 0
    for _ in range(_N_DRAINS[name]):
        source.fill()
        start_ns = time.perf_counter_ns()
        n_events = drain(source)
        took_ns += time.perf_counter_ns() - start_ns
        assert n_events == _N_EVENTS
    return took_ns / _N_DRAINS[name] / _N_EVENTS


def _take_events(source: _Source) -> int:
    n_events = 0
    while n_events < _N_EVENTS:
        for _ in source.decoder.decode(source.reader.read_batch(_BATCH)):
            n_events += 1
    return n_events


def _look_at_events(source: _Source) -> int:
    n_events = n_created = 0
    while n_events < _N_EVENTS:
        for event in source.decoder.decode(source.reader.read_batch(_BATCH)):
            n_events += 1
            n_created += bool(event.mask & _CREATE)
            assert event.path is not None
    assert n_created == _N_FILES
    return n_events


def _take_batches(source: _Source) -> int:
    n_events = 0
    while n_events < _N_EVENTS:
        batch = source.reader.read_batch(_BATCH)
        for column in ("mask", "tgid", "boot_ns"):
            batch.column(column)
        n_events += len(batch)
    return n_events


def _look_at_batches(source: _Source) -> int:
    n_events = n_created = n_paths = 0
    while n_events < _N_EVENTS:
        batch = source.reader.read_batch(_BATCH)
        n_created += batch.column("mask").count(_CREATE)
        n_paths += len(batch.paths())
        n_events += len(batch)
    assert (n_created, n_paths) == (_N_FILES, _N_EVENTS)
    return n_events


def _inotify(top: str, is_looking: bool) -> float:
    """Let inotify's queue be filled, then empty it; return nanoseconds for each event."""
    directories = [f"{top}/ring-{n}" for n in range(16)]
    for directory in directories:
        os.makedirs(directory)
    try:
        return asyncio.run(_read_inotify(directories, is_looking))
    finally:
        shutil.rmtree(top)


async def _read_inotify(directories: list[str], is_looking: bool) -> float:
    from asyncinotify import Inotify
    from asyncinotify import Mask as InotifyMask

    wanted = InotifyMask.ACCESS | InotifyMask.MODIFY | InotifyMask.OPEN | InotifyMask.CREATE
    wanted |= InotifyMask.DELETE | InotifyMask.ATTRIB | InotifyMask.CLOSE | InotifyMask.MOVE
    create = InotifyMask.CREATE
    n_events = n_created = 0
    with Inotify() as inotify:
        for directory in directories:
            inotify.add_watch(directory, wanted)
        _make_files(directories)
        start_ns = time.perf_counter_ns()
        if is_looking:
            async for event in inotify:
                n_created += create in event.mask
                assert str(event.path)
                n_events += 1
                if n_events == _N_EVENTS:
                    break
        else:
            async for _ in inotify:
                n_events += 1
                if n_events == _N_EVENTS:
                    break
        took_ns = time.perf_counter_ns() - start_ns
    assert n_created == (_N_FILES if is_looking else 0)
    return took_ns / _N_EVENTS


def _make_files(directories: list[str]) -> None:
    for n in range(_N_FILES):
        os.close(os.open(f"{directories[n % len(directories)]}/some-file-{n:07}", os.O_CREAT | os.O_WRONLY))
