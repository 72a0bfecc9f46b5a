"""The programs of handlers: each attach has one of its own, in a table from which the dispatcher calls it by number."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fanotify_fastpath._bpf._abi import FpField, FpLimit
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._engines.kernel.tables import Tables
from fanotify_fastpath.errors import KernelRefused

#: maps and global variables of a handler's object
_HANDLED: Final = "handled"
_ATTRIBUTES: Final = ".rodata.attributes"
_MANIFEST: Final = ".rodata.manifest"


class StateCode(Protocol):
    """What a handler keeps, as its program has it."""

    @property
    def map_name(self) -> str: ...
    def shape(self, state_map: Any) -> None: ...
    def bind(self, handler: Any, state_map: Map) -> None: ...
    def unbind(self, handler: Any) -> None: ...


class Code(Protocol):
    """
    A handler, compiled.

    :ivar object_file: content of the object file
    :ivar needs: of :class:`FpField`: what it needs to know of an event
    """

    object_file: bytes
    needs: int
    states: Sequence[StateCode]

    def pack(self, handler: Any, slot_of: Callable[[Any], int | None]) -> bytes: ...


@dataclass(eq=False, slots=True)
class Loaded:
    """
    A program of one attach.

    :ivar number: where it is in the table
    :ivar needs: of :class:`FpField`
    """

    number: int
    needs: int
    code: Code
    object: Object


class Programs:
    """
    Those of this process.

    :param table: where the dispatcher finds them
    :param handled: where it leaves the event for them
    :param program: the name, in a handler's object, of the one that fits the dispatcher
    """

    def __init__(self, tables: Tables, table: Map, handled: Map, program: str) -> None:
        self._tables = tables
        self._table = table
        self._handled = handled
        self._program = program
        # what was given back last comes last: whoever is late finds nobody else's program
        self._free = deque(range(FpLimit.N_ATTACHMENTS))
        self._n_counting_depth = 0

    def load(self, code: Code, handler: Any, slot_of: Callable[[Any], int | None]) -> Loaded:
        """
        Load a program for one attach; nobody asks it yet.

        :param slot_of: tells the slot of a root set
        :raises VerifierError: the kernel does not accept it
        :raises KernelRefused: there are too many
        """
        if not self._free:
            raise KernelRefused(f"the groups of this process have {FpLimit.N_ATTACHMENTS} handlers already", 28)
        found = self._open(code, handler, slot_of)
        try:
            found.load()
            for state in code.states:
                state.bind(handler, found.map(state.map_name).open())
            number = self._free.popleft()
            self._tables.clear_attachment(number)
            self._put(number, found)
        except BaseException:
            found.close()
            raise
        self._count_depth(code.needs, +1)
        return Loaded(number, code.needs, code, found)

    def unload(self, loaded: Loaded, handler: Any) -> None:
        """Take a program away that nobody asks any more."""
        self._table.delete(_u32(loaded.number))
        for state in loaded.code.states:
            state.unbind(handler)
        loaded.object.close()
        self._count_depth(loaded.needs, -1)
        self._free.append(loaded.number)

    def counters(self, loaded: Loaded) -> tuple[int, ...]:
        """What it was asked, and how it decided, as ``struct fp_attachment``."""
        return self._tables.attachment_counters(loaded.number)

    def close(self) -> None:
        """Let go of the tables."""
        self._table.close()
        self._handled.close()

    def _open(self, code: Code, handler: Any, slot_of: Callable[[Any], int | None]) -> Object:
        found = Object.open_bytes(code.object_file, "fanfp")
        try:
            states = {state.map_name: state for state in code.states}
            for each in found.maps():
                if each.name == _HANDLED:
                    each.reuse(self._handled)
                elif each.name == _ATTRIBUTES:
                    each.set_initial(code.pack(handler, slot_of))
                elif each.name in states:
                    states[each.name].shape(each)
                elif each.name == _MANIFEST or not each.name.startswith("."):
                    each.set_wanted(False)
            for program in found.programs():
                program.set_wanted(program.name == self._program)
        except BaseException:
            found.close()
            raise
        return found

    def _put(self, number: int, found: Object) -> None:
        self._table.update(_u32(number), _u32(found.program(self._program).fd))

    def _count_depth(self, needs: int, change: int) -> None:
        if needs & FpField.DEPTH:
            self._n_counting_depth += change
            self._tables.set_depth_needed(self._n_counting_depth > 0)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
