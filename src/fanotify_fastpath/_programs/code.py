"""A handler's code for the kernel, and its object for one attach."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from fanotify_fastpath._bpf.libbpf import Object, ObjectMap
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._programs.state_maps import shape
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.roots import RootSet

#: maps and global variables of a handler's object
HANDLED: Final = "handled"
ATTRIBUTES: Final = ".rodata.attributes"
MANIFEST: Final = ".rodata.manifest"

#: tells the slot of a root set
SlotOf = Callable[[RootSet], int | None]


class Code(Protocol):
    """
    A handler's code.

    :ivar object_file: content of the object file
    :ivar needs: of :class:`FpField`: what it needs to know of an event
    :ivar states: attributes of its class that declare what it remembers, with the object's maps that hold it
    """

    @property
    def object_file(self) -> bytes: ...
    @property
    def needs(self) -> int: ...
    @property
    def states(self) -> Mapping[str, str]: ...
    def pack(self, handler: Handler, slot_of: SlotOf) -> bytes:
        """
        Give the values of the handler's attributes, as the program has them.

        :param slot_of: tells the slot of a root set
        """
        ...


def open_object(
    code: Code,
    handler: Handler,
    slot_of: SlotOf,
    program: str,
    set_handled: Callable[[ObjectMap], None],
    kept: Mapping[str, Map],
) -> Object:
    """
    Open the object of one attach; it is not loaded yet.

    :param slot_of: tells the slot of a root set
    :param program: the one that is wanted
    :param set_handled: is given the map with the event
    :param kept: maps of what it remembers that are there already, by the names of attributes
    """
    found = Object.open_bytes(code.object_file, "fanfp")
    try:
        states = {map_name: name for name, map_name in code.states.items()}
        for each in found.maps():
            if each.name == HANDLED:
                set_handled(each)
            elif each.name == ATTRIBUTES:
                each.set_initial(code.pack(handler, slot_of))
            elif states.get(each.name) in kept:
                each.reuse(kept[states[each.name]])
            elif each.name in states:
                shape(getattr(type(handler), states[each.name]), each)
            elif each.name == MANIFEST or not each.name.startswith("."):
                each.set_wanted(False)
        for one in found.programs():
            one.set_wanted(one.name == program)
    except BaseException:
        found.close()
        raise
    return found
