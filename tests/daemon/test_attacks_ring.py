"""Attacks on the ring: its memory is the client's to write, and what the client writes there is the client's loss."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from outcomes import wait_until

from .attacking import attacker_of, check_unharmed, innocent_of
from .support import FOR_ALL, NAME, Daemon, only_fanotify, only_kernel
from .test_server import failed

pytestmark = pytest.mark.attack


def make_files(top: Path, n_files: int, name: str = "file") -> list[str]:
    made = [f"{name}{n}" for n in range(n_files)]
    for each in made:
        os.close(os.open(top / each, os.O_CREAT | os.O_WRONLY, 0o644))
    return made


@pytest.mark.parametrize("only_positions", [True, False], ids=["positions", "every word"])
def test_whatever_a_client_writes_into_its_ring_harms_nobody_else(
    daemon: Daemon, top: Path, only_positions: bool
) -> None:
    with attacker_of(daemon) as attacker, innocent_of(daemon, top) as innocent:
        attacker.watch(top, Mask.CREATE)
        made: list[str] = []
        counters: dict[str, int] = {}
        # what is not believed and what is, is a matter of chance
        for seed in range(30):
            if seed >= 3 and (counters["n_put"] or not only_positions):
                break
            attacker.begin_scribbling(seed, only_positions=only_positions)
            made += make_files(top, 1500, f"{seed}-")
            counters = attacker.sync()
            assert counters["n_put"] + counters["n_dropped"] >= len(made)
            assert attacker.end_scribbling() > 5000
        check_unharmed(daemon, innocent, top, made)
        # it did reach the daemon: what could not be true was not believed, and what could was
        assert counters["n_dropped"] > 0
        assert counters["n_put"] > 0 or not only_positions


def test_neither_memory_nor_pipe_can_be_spoiled(daemon: Daemon, top: Path) -> None:
    with attacker_of(daemon) as attacker, innocent_of(daemon, top) as innocent:
        attacker.watch(top, Mask.CREATE)
        spoiled = attacker.try_to_spoil()
        assert "ok" not in spoiled.values()
        assert NAME == "kernel" or spoiled == {
            "shorten": "EPERM",
            "lengthen": "EPERM",
            "append": "EPERM",
            "reopen and shorten": "EPERM",
            "seal": "EPERM",
            "write to the pipe": "EBADF",
            "reopen the pipe": "EACCES",
        }
        made = make_files(top, 10)
        assert len(attacker.hear()) == 10
        check_unharmed(daemon, innocent, top, made)
        # it is the user's lack of rights to the pipe that stops it; a map cannot be opened anew at all
        with attacker_of(daemon, 0) as root:
            root.watch(top, Mask.CREATE)
            assert (root.try_to_spoil()["reopen the pipe"] == "ok") == (NAME != "kernel")


@only_fanotify("the memory of a map cannot be taken away")
def test_memory_that_is_taken_away_is_the_clients_loss(daemon: Daemon, top: Path) -> None:
    with attacker_of(daemon) as attacker, innocent_of(daemon, top) as innocent:
        attacker.watch(top, Mask.CREATE)
        attacker.block_on_pipe()
        made = []
        for n in range(20):
            made += make_files(top, 50, f"{n}-")
            attacker.punch()
        assert attacker.sync()["n_put"] + attacker.sync()["n_dropped"] == len(made)
        check_unharmed(daemon, innocent, top, made)


@only_fanotify("a map keeps its memory, which is counted")
def test_a_ring_that_is_kept_keeps_no_memory(daemon: Daemon, top: Path) -> None:
    """Else somebody could have any number of full rings, and the daemon's own memory be counted for it."""
    with attacker_of(daemon) as attacker, innocent_of(daemon, top) as innocent:
        attacker.watch(top, Mask.CREATE, ring_bytes=1 << 20)
        made = make_files(top, 1000)
        attacker.sync()
        assert attacker.ring_memory_bytes() > 100_000
        attacker.hang_up()
        wait_until(lambda: attacker.ring_memory_bytes() == 0, "the memory is given back")
        # also when it is the daemon that ends the connection, for what the client said
        attacker.connect()
        attacker.watch(top, Mask.CREATE, ring_bytes=1 << 20)
        made += make_files(top, 1000, "more")
        attacker.sync()
        assert attacker.ring_memory_bytes() > 100_000
        attacker.send_raw(b"\xff")
        assert isinstance(attacker.answer(), messages.Failed)
        wait_until(lambda: attacker.ring_memory_bytes() == 0, "the memory is given back")
        check_unharmed(daemon, innocent, top, made)


@only_kernel("a ring in memory that is kept keeps no memory")
def test_rings_that_are_kept_are_counted_until_they_are_closed(start: Callable[..., Daemon], top: Path) -> None:
    daemon = start(FOR_ALL + f"[limits]\nring_bytes_per_user = {1 << 17}\n")
    with attacker_of(daemon) as attacker, innocent_of(daemon, top, 1 << 17) as innocent:
        for _ in range(2):
            attacker.watch(top, Mask.CREATE)
            attacker.hang_up()
            attacker.connect()
        wait_until(lambda: daemon.n_groups() == 1, "its groups have ended")
        attacker.hello()
        refusal = attacker.open()
        assert failed(refusal) == "LimitReached"
        assert "has kept rings" in refusal.message
        check_unharmed(daemon, innocent, top, [])
        attacker.let_go()
        assert isinstance(attacker.open(), messages.Opened)
