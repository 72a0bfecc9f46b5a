"""Compiled handlers in the kernel, run by BPF_PROG_RUN."""

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Any

from compiler.drawing.comparing import Memory
from compiler.native import EVENT
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._programs.state_maps import shape
from fanotify_fastpath.compiling import CompiledHandler, compile_handler, read_frame
from fanotify_fastpath.handlers import Handler

_KEY = bytes(4)
_N_MAPS = 8


class Runner:
    """A handler in the kernel."""

    def __init__(self, compiled: CompiledHandler, loaded: Object, handled: Map) -> None:
        self._compiled = compiled
        self._loaded = loaded
        self._program = loaded.program("handle_run")
        self._handled = handled
        self._n_cpus = len(handled.lookup_per_cpu(_KEY))
        self._cpu = min(os.sched_getaffinity(0))

    def run(self, event: bytes) -> int:
        """What it says of an event."""
        self._handled.update(_KEY, event * self._n_cpus)
        self._program.run(cpu=self._cpu)
        decided = self._handled.lookup_per_cpu(_KEY)[self._cpu]
        return int(struct.unpack_from("=i", decided, EVENT.fields["verdict"].offset)[0])

    def remembered(self) -> Memory:
        """What it keeps."""
        return {name: self._table(table) for name, table in self._compiled.states.items()}

    def _table(self, name: str) -> dict[bytes, int]:
        with self._loaded.map(name).open() as table:
            return {key: int.from_bytes(table.lookup(key) or b"", "little") for key in table.keys()}  # noqa: SIM118


@contextlib.contextmanager
def start(kind: type[Handler], instance: Handler) -> Iterator[Runner]:
    """
    Compile a handler and load it; see ``comparing.Start``.

    :raises VerifierError: the verifier does not accept it
    """
    compiled = compile_handler(kind, read_frame())
    with Object.open_bytes(compiled.data, "handler") as loaded:
        for program in loaded.programs():
            program.set_wanted(program.name == "handle_run")
        _shape_state(loaded, kind, compiled)
        constants = compiled.pack(instance, lambda roots: getattr(roots, "slot", None))
        loaded.map(".rodata.attributes").set_initial(constants)
        loaded.load()
        with loaded.map("handled").open() as handled:
            yield Runner(compiled, loaded, handled)


def _shape_state(loaded: Object, kind: Any, compiled: CompiledHandler) -> None:
    names = dict(zip(compiled.states.values(), compiled.states, strict=True))
    for n in range(_N_MAPS):
        found = loaded.map(f"state_{n}")
        if found.name in names:
            shape(getattr(kind, names[found.name]), found)
        else:
            found.set_wanted(False)
