"""Compiled handlers in the kernel, run by BPF_PROG_RUN."""

import contextlib
import os
from collections.abc import Iterator

from compiler.drawing.comparing import Memory
from fanotify_fastpath._bpf.handler_event import verdict_in
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._programs.code import open_object
from fanotify_fastpath.compiling import CompiledHandler, compile_handler, read_frame
from fanotify_fastpath.handlers import Handler

_KEY = bytes(4)
_PROGRAM = "handle_run"


class Runner:
    """A handler in the kernel."""

    def __init__(self, compiled: CompiledHandler, loaded: Object, handled: Map) -> None:
        self._compiled = compiled
        self._loaded = loaded
        self.program = loaded.program(_PROGRAM)
        self._handled = handled
        self._n_cpus = len(handled.lookup_per_cpu(_KEY))
        self._cpu = min(os.sched_getaffinity(0))

    def run(self, event: bytes) -> int:
        """What it says of an event."""
        self._handled.update(_KEY, event * self._n_cpus)
        self.program.run(cpu=self._cpu)
        return verdict_in(self._handled.lookup_per_cpu(_KEY)[self._cpu])

    def state(self, name: str) -> Map:
        """One of the tables that it keeps."""
        return self._loaded.map(self._compiled.states[name]).open()

    def remembered(self) -> Memory:
        """What it keeps."""
        return {name: self._entries(name) for name in self._compiled.states}

    def _entries(self, name: str) -> dict[bytes, int]:
        with self.state(name) as table:
            return {key: int.from_bytes(table.lookup(key) or b"", "little") for key in table.keys()}  # noqa: SIM118


@contextlib.contextmanager
def start(kind: type[Handler], instance: Handler) -> Iterator[Runner]:
    """
    Compile a handler and load it; see ``comparing.Start``.

    :raises VerifierError: the verifier does not accept it
    """
    with run(compile_handler(kind, read_frame()), instance) as runner:
        yield runner


@contextlib.contextmanager
def run(compiled: CompiledHandler, instance: Handler) -> Iterator[Runner]:
    """
    Load a compiled handler.

    :raises VerifierError: the verifier does not accept it
    """
    opened = open_object(
        compiled, instance, lambda roots: getattr(roots, "slot", None), _PROGRAM, lambda handled: None, {}
    )
    with opened as loaded:
        loaded.load()
        with loaded.map("handled").open() as handled:
            yield Runner(compiled, loaded, handled)
