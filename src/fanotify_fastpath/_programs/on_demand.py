"""A handler's program, run on demand: so the listener asks a handler that is not in Python."""

import threading
from typing import Any, Final
from weakref import WeakSet, finalize

from fanotify_fastpath._bpf._abi import FpField
from fanotify_fastpath._bpf.handler_event import ALWAYS, FIELDS, SIZE, pack_event, verdict_in
from fanotify_fastpath._bpf.libbpf import Map, MapType, Object, ObjectMap
from fanotify_fastpath._closing import Closing
from fanotify_fastpath._programs.code import HANDLED, Code, open_object
from fanotify_fastpath._programs.state_maps import CounterInMap, StateInMap, copy_out, move_in
from fanotify_fastpath.errors import Closed
from fanotify_fastpath.handlers import Handler, HandlerEvent
from fanotify_fastpath.roots import RootSet

_PROGRAM: Final = "handle_run"
_FIRST: Final = bytes(4)
_IN_MAP: Final = (CounterInMap, StateInMap)
#: state that no engine has moved into its own maps
_made_here: Final[WeakSet[Any]] = WeakSet()


class OnDemand(Closing):
    """
    The program of one attach.

    What the handler remembers is in maps of the kernel while this is open. An engine may move it into its own program's
    maps; then these are used here too.

    :param code: of the handler
    :param handler: after its arguments were set
    :raises NotPermitted: a capability is missing
    :raises VerifierError: the kernel does not accept the program
    """

    def __init__(self, code: Code, handler: Handler) -> None:
        self._code = code
        self._handler = handler
        self._slots = {roots.set_id: slot for slot, roots in enumerate(handler.root_sets())}
        self._lock = threading.Lock()
        self._is_closed = False
        self._object = self._load()

    def ask(self, event: HandlerEvent) -> int:
        """
        Let it decide about an event.

        :return: ``enum fp_verdict``, or a negative error number
        :raises Closed: it was closed
        """
        shown = self._show(event)
        with self._lock:
            if self._is_closed:
                raise Closed(f"handler {self._handler.name!r} was detached")
            if any(storage is not self._storages.get(name) for name, storage in self._storages_now().items()):
                self._unload()
                self._object = self._load()  # what it remembers is elsewhere now
            self._handled.update(_FIRST, shown)
            self._object.program(_PROGRAM).run()
            return verdict_in(self._handled.lookup(_FIRST) or bytes(SIZE))

    def close(self) -> None:
        """Unload it; what the handler remembers is in this process from now on."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for name, storage in self._storages_now().items():
                if storage in _made_here:
                    copy_out(self._handler, name)
            self._unload()

    def _show(self, event: HandlerEvent) -> bytes:
        needs = self._code.needs
        names = [name for bit, group in FIELDS.items() if needs & bit for name in group]
        inside = self._inside(event) if needs & FpField.PLACE else None
        return pack_event({name: getattr(event, name) for name in (*ALWAYS, *names)}, inside)

    def _inside(self, event: HandlerEvent) -> list[int] | None:
        found = []
        for roots in self._handler.root_sets():
            is_inside = event.inside(roots)
            if is_inside is None:
                return None
            if is_inside:
                found.append(self._slots[roots.set_id])
        return found

    def _slot_of(self, roots: RootSet) -> int | None:
        return self._slots.get(roots.set_id)

    def _storages_now(self) -> dict[str, Any]:
        return {name: getattr(self._handler, name) for name in self._code.states}

    def _load(self) -> Object:
        in_maps = {n: one.map for n, one in self._storages_now().items() if isinstance(one, _IN_MAP)}
        found = open_object(self._code, self._handler, self._slot_of, _PROGRAM, _let_one_at_a_time, in_maps)
        try:
            found.load()
        except BaseException:
            found.close()
            raise
        self._handled = found.map(HANDLED).open()
        for name in self._code.states.keys() - in_maps.keys():
            self._move_in(name, found.map(self._code.states[name]).open())
        self._storages = self._storages_now()
        return found

    def _move_in(self, name: str, state_map: Map) -> None:
        move_in(self._handler, name, state_map, is_new=True)
        storage = getattr(self._handler, name)
        # a handler that takes the place of this one goes on with it: who is last closes it
        finalize(storage, state_map.close)
        _made_here.add(storage)

    def _unload(self) -> None:
        self._storages = {}
        self._handled.close()
        self._object.close()


def _let_one_at_a_time(handled: ObjectMap) -> None:
    """One event for all CPUs: nobody else runs this program."""
    handled.reshape(MapType.ARRAY, len(_FIRST), SIZE, 1)
