"""Packets of somebody who wishes the daemon ill: refused as a whole; nothing is left behind, little memory used."""

import resource
import tracemalloc
from collections.abc import Iterator

import pytest

from fanotify_fastpath._wire.messages import MESSAGE_MAX_BYTES
from wire_samples import n_descriptors

from .fuzzing import LONG, PACKETS, Attacker, Seeded, draw_n_fds, draw_packet, read

MANY = [20_000, pytest.param(1_000_000, marks=pytest.mark.long)]
MIB = 1 << 20


def peak_mib() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    one = Attacker()
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("n", MANY)
def test_a_packet_is_a_message_or_refused(n: int) -> None:
    choices, n_accepted = Seeded(n), 0
    before_mib = peak_mib()
    for _ in range(n):
        n_accepted += read(draw_packet(choices)) is not None
    assert n // 20 < n_accepted < n // 2, "the packets are not what they were meant to be"
    assert peak_mib() - before_mib < 32


@pytest.mark.parametrize("n", MANY)
def test_a_channel_is_left_with_nothing(attacker: Attacker, n: int) -> None:
    choices, n_fds = Seeded(n + 1), n_descriptors()
    before_mib = peak_mib()
    for number in range(n):
        attacker.attack(draw_packet(choices), draw_n_fds(choices))
        if number % 1000 == 0:
            assert n_descriptors() == n_fds
    assert n_descriptors() == n_fds
    assert attacker.n_refused > n // 3
    assert attacker.n_accepted > n // 50
    assert peak_mib() - before_mib < 32


@pytest.mark.parametrize("first", LONG, ids=bytes.hex)
def test_a_length_that_is_not_there_takes_no_memory(first: bytes) -> None:
    claims = [first + b"\xff\xff\xff\xff", first + b"\x7f\xff\xff\xff", first + b"\x00\xff\xff\xff" + b"\xc0" * 1000]
    packets = [*claims, *(packet[:at] + claim for packet in PACKETS for at in range(len(packet)) for claim in claims)]
    tracemalloc.start()
    try:
        for packet in packets:
            read(packet)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * MIB


@pytest.mark.parametrize("step", [b"\x91", b"\x81\xa1x", b"\x81\xa4type", b"\x81\x90"], ids=bytes.hex)
def test_any_depth_is_refused(step: bytes) -> None:
    nest = step * ((MESSAGE_MAX_BYTES - 200) // len(step))
    for packet in [b"", *PACKETS]:
        for at in range(len(packet) + 1):
            assert read(packet[:at] + nest) is None
