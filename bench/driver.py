"""
One Python listener in a process of its own: ``python -m bench.driver PEER MODE ROOT``.

It prints how long the set-up took, then works until its input ends, then prints what it saw. Every peer is used as its
own documentation shows it; the sink does the same little for each of them.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from bench.outputs import made_at
from bench.peers import PEERS, Told


class Sink:
    """Counts events; in mode ``latency`` notes how long ago the file was made whose name is a time."""

    def __init__(self, mode: str) -> None:
        self.n_events = self.n_created = self.n_deleted = self.n_lost_signs = 0
        self.latencies_ns: list[int] = []
        self.paths: set[str | bytes] = set()
        self.error = ""
        self.keeps_paths = mode == "paths"
        self.mode = mode

    def see(self, event: Any, tell: Callable[[Any], Told]) -> None:
        """Take one event."""
        is_created, is_deleted, path = tell(event)
        self.n_events += 1
        self.n_created += is_created
        self.n_deleted += is_deleted
        if self.keeps_paths and path is not None:
            self.paths.add(path)

    def see_latency(self, event: Any, tell: Callable[[Any], Told]) -> None:
        """Take one event and note how late it is, if it is a creation."""
        now_ns = time.monotonic_ns()
        is_created, _, path = tell(event)
        self.n_events += 1
        if is_created and path is not None:
            made_ns = made_at(os.path.basename(os.fsencode(path)))
            if made_ns is not None:
                self.latencies_ns.append(now_ns - made_ns)

    def lost(self) -> None:
        """The peer says that events were lost."""
        self.n_lost_signs += 1

    def report(self) -> dict[str, Any]:
        """What was seen, for JSON."""
        return {
            "n_events": self.n_events,
            "n_created": self.n_created,
            "n_deleted": self.n_deleted,
            "n_lost_signs": self.n_lost_signs,
            "paths": sorted(os.fsencode(path).hex() for path in self.paths),
            "latencies_ns": self.latencies_ns,
            "error": self.error,
        }


def _wait_for_end(sink: Sink) -> None:
    sys.stdin.read()
    print(json.dumps(sink.report()), flush=True)
    os._exit(0)


def _say_ready(start_ns: int) -> Callable[[], None]:
    def say() -> None:
        print(json.dumps({"setup_ns": time.monotonic_ns() - start_ns}), flush=True)

    return say


def main() -> None:
    """Run one peer until the input ends."""
    name, mode, root = sys.argv[1:]
    warnings.simplefilter("ignore")  # peers' log lines and warnings, tens of thousands of them
    logging.disable()
    peer = PEERS[name]()  # imports the peer: not a part of the set-up
    sink = Sink(mode)
    see = sink.see_latency if mode == "latency" else sink.see
    threading.Thread(target=_wait_for_end, args=(sink,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            peer(root, see, sink.lost, _say_ready(time.monotonic_ns()))
        except Exception as exc:
            sink.error = type(exc).__name__
    threading.Event().wait()  # a peer that gave up: what it saw is still to be reported


if __name__ == "__main__":
    main()
