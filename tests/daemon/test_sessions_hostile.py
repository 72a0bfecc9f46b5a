"""Connections of somebody who wishes the daemon ill: each request is answered, and nothing is left of any of them."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mounting import Filesystem, is_root_required
from wire_samples import n_descriptors

from .fuzzing import Seeded
from .fuzzing_sessions import Connection, Ground, failures

pytest.importorskip("fanotify_fastpath._wire._memory", reason="the writer of rings is not compiled")
pytestmark = pytest.mark.skipif(os.geteuid() != 0 and not is_root_required(), reason="the daemon needs root")


@pytest.fixture
def ground(filesystem: Filesystem) -> Iterator[Ground]:
    one = Ground(Path(filesystem.dir))
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("n", [150, pytest.param(20_000, marks=pytest.mark.long)])
def test_each_request_is_answered_and_nothing_is_left(ground: Ground, n: int) -> None:
    n_fds, n_threads = n_descriptors(), threading.active_count()
    totals = [0, 0, 0]
    with failures() as failed:
        for seed in range(n):
            connection = Connection(ground)
            try:
                connection.play(Seeded(seed))
            finally:
                connection.end()
                assert not failed, f"seed {seed}"
            for at, count in enumerate((connection.n_done, connection.n_failed, connection.n_events)):
                totals[at] += count
    n_done, n_failed, n_events = totals
    assert n_done > 3 * n
    assert n_failed > n
    assert n_events > n / 3
    assert n_descriptors() == n_fds
    assert threading.active_count() <= n_threads + 1
