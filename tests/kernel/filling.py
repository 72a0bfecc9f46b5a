"""A ring that a program in the kernel fills, and what has to arrive of it (``programs/fill_ring.bpf.c``)."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fanotify_fastpath._bpf.libbpf import Map, Object, Program
from fanotify_fastpath._bpf.ring import Batch

from .conftest import Compile

MIN_PATH, SPREAD, DISCARD_EVERY = 16, 400, 7
#: header and struct fp_event, and the longest paths, rounded up
RECORD_MAX_BYTES = 8 + 160 + MIN_PATH + SPREAD


def is_sent(number: int) -> bool:
    """Whether a record with this number is submitted, if there is room for it."""
    return number % DISCARD_EVERY != 0


@dataclass(slots=True)
class Filler:
    """
    The program, loaded.

    :ivar ring: the map
    """

    ring: Map
    _program: Program

    def fill(self, first: int, n: int, step: int = 1, producer: int = 1, cpu: int | None = None) -> int:
        """Write *n* numbers from *first* on; return how many of those that are not discarded found room."""
        return self._program.run(struct.pack("=4Q", first, step, n, producer), cpu=cpu).value


@contextmanager
def filler(compiled: Compile, size_bytes: int) -> Iterator[Filler]:
    """Load the program, with a ring of that size."""
    with Object.open_file(compiled("fill_ring")) as program_file:
        program_file.map("ring").set_max_entries(size_bytes)
        program_file.load()
        with program_file.map("ring").open() as ring:
            yield Filler(ring, program_file.program("fill"))


@dataclass(slots=True)
class Check:
    """
    Looks at every byte of what arrives from one producer or several.

    :ivar n: records seen
    :ivar missing: by producer, numbers that were to come and did not, before the newest seen
    """

    step: int = 1
    n: int = 0
    missing: dict[int, list[int]] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)

    def begin(self, producer: int, first: int) -> None:
        """A producer begins with this number."""
        self._next[producer] = first
        self.missing[producer] = []

    def see(self, batch: Batch) -> None:
        """Look at a batch; within each producer the order must be right."""
        block, starts = batch.paths_block, memoryview(batch.starts).cast("I")
        columns = [batch.column(name) for name in ("inode", "boot_ns", "mask", "tgid", "path_len", "old_path_len")]
        for n, (number, boot_ns, mask, producer, path_len, old_len) in enumerate(zip(*columns, strict=True)):
            self._expect(producer, number)
            length = MIN_PATH + number * 37 % SPREAD
            assert boot_ns == number * 3
            assert mask == number & 0xFFFFFFFF
            assert old_len == (0 if number % 5 else 8)
            assert path_len + old_len == length
            assert block[starts[n] : starts[n + 1]] == (struct.pack("=Q", number) * 64)[-length:], "a torn record"
        self.n += len(batch)

    def _expect(self, producer: int, number: int) -> None:
        expected = self._next[producer]
        while expected != number:
            assert expected < number, f"{number} comes twice, or too late"
            if is_sent(expected):
                self.missing[producer].append(expected)
            expected += self.step
        assert is_sent(number), "a discarded record arrives"
        self._next[producer] = number + self.step
