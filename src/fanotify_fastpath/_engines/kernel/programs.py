"""The programs of handlers: each attach has one of its own, in a table from which the dispatcher calls it by number."""

import errno
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from fanotify_fastpath._bpf._abi import FpField, FpLimit
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._engines.kernel.tables import Tables
from fanotify_fastpath._programs.code import Code, SlotOf, open_object
from fanotify_fastpath._programs.state_maps import kept_maps, move_in, move_out
from fanotify_fastpath.errors import KernelRefused
from fanotify_fastpath.handlers import Handler


@dataclass(eq=False, slots=True)
class Loaded:
    """
    A program of one attach.

    :ivar number: where it is in the table
    """

    number: int
    handler: Handler
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

    def load(self, code: Code, handler: Handler, slot_of: SlotOf) -> Loaded:
        """
        Load a program for one attach; nobody asks it yet.

        :param slot_of: tells the slot of a root set
        :raises VerifierError: the kernel does not accept it
        :raises KernelRefused: there are too many
        """
        if not self._free:
            limit = FpLimit.N_ATTACHMENTS
            raise KernelRefused(f"the groups of this process have {limit} handlers already", errno.ENOSPC)
        found = self._open(code, handler, slot_of, {})
        number = self._free.popleft()
        self._tables.clear_attachment(number)
        try:
            return self._begin(Loaded(number, handler, code, found), {})
        except BaseException:
            self._free.append(number)
            raise

    def replace(self, loaded: Loaded, code: Code, handler: Handler, slot_of: SlotOf) -> Loaded:
        """
        Put another program in the place of one that is being asked: each event is judged by one of them.

        What both remember in the same form is kept.

        :raises VerifierError: the kernel does not accept it; then the old one stays
        """
        kept = kept_maps(loaded.handler, loaded.code.states, handler, code.states)
        found = self._open(code, handler, slot_of, kept)
        begun = self._begin(Loaded(loaded.number, handler, code, found), kept)
        for name in loaded.code.states.keys() - kept.keys():
            move_out(loaded.handler, name)
        loaded.object.close()
        self._count_depth(loaded.code.needs, -1)
        return begun

    def unload(self, loaded: Loaded) -> None:
        """Take a program away that nobody asks any more."""
        self._table.delete(_u32(loaded.number))
        for name in loaded.code.states:
            move_out(loaded.handler, name)
        loaded.object.close()
        self._count_depth(loaded.code.needs, -1)
        self._free.append(loaded.number)

    def counters(self, loaded: Loaded) -> tuple[int, ...]:
        """What it was asked, and how it decided, as ``struct fp_attachment``."""
        return self._tables.attachment_counters(loaded.number)

    def close(self) -> None:
        """Let go of the tables."""
        self._table.close()
        self._handled.close()

    def _begin(self, loaded: Loaded, kept: Mapping[str, Map]) -> Loaded:
        """Load, and let it be found."""
        try:
            loaded.object.load()
            for name, map_name in loaded.code.states.items():
                state_map = kept.get(name) or loaded.object.map(map_name).open()
                move_in(loaded.handler, name, state_map, is_new=name not in kept)
            fd = loaded.object.program(self._program).fd
            self._table.update(_u32(loaded.number), _u32(fd))
        except BaseException:
            loaded.object.close()
            raise
        self._count_depth(loaded.code.needs, +1)
        return loaded

    def _open(self, code: Code, handler: Handler, slot_of: SlotOf, kept: Mapping[str, Map]) -> Object:
        return open_object(code, handler, slot_of, self._program, lambda each: each.reuse(self._handled), kept)

    def _count_depth(self, needs: int, change: int) -> None:
        if needs & FpField.DEPTH:
            self._n_counting_depth += change
            self._tables.set_depth_needed(self._n_counting_depth > 0)


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")
