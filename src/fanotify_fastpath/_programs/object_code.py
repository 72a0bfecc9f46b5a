"""Code for the kernel that came as an object file, and what it says of itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fanotify_fastpath._bpf._abi import LAYOUTS
from fanotify_fastpath._bpf.layout import Field
from fanotify_fastpath._bpf.libbpf import Object
from fanotify_fastpath._compiler import model
from fanotify_fastpath._compiler.layout import size_of
from fanotify_fastpath._compiler.packing import pack
from fanotify_fastpath._compiler.ranges import I64, width
from fanotify_fastpath._programs.code import ATTRIBUTES, HANDLED, MANIFEST, SlotOf
from fanotify_fastpath._programs.manifest import Manifest, read_manifest
from fanotify_fastpath.arguments import Argument, BytesList, Integer, IntegerSet, Kind, Roots
from fanotify_fastpath.errors import InvalidArgument, KernelRefused
from fanotify_fastpath.handlers import Handler

_PROGRAMS: Final = ("handle_fentry", "handle_kprobe", "handle_run")
_LINES: Final = 'begin it with #include <handler.bpf.h> and HANDLER("name", "description")'


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """
    The code (:class:`~fanotify_fastpath._programs.code.Code`).

    :ivar constants: the arguments as they lie in the object
    :ivar constants_size: in bytes, of all of them and what is between
    """

    object_file: bytes
    needs: int
    states: Mapping[str, str]
    constants: tuple[model.Attribute, ...]
    constants_size: int

    def pack(self, handler: Handler, slot_of: SlotOf) -> bytes:
        """The values of a handler's arguments."""
        compiled = model.Compiled("", self.needs, self.constants, self.constants_size, tuple(self.states))
        return pack(compiled, handler, slot_of)


def read_object(data: bytes, source: str) -> tuple[ObjectCode, Manifest]:
    """
    Read an object file; nothing is loaded.

    :param data: its content
    :param source: where it is from, for messages
    :raises InvalidArgument: it is none, or no handler's, or made for another version
    :raises UnsupportedFeature: libbpf is not installed
    """
    try:
        with Object.open_bytes(data, "fanfp") as found:
            manifest = read_manifest(_manifest_of(found))
            _check(found, manifest)
            variables = found.variables(ATTRIBUTES)
            constants = tuple(_placed(argument, variables) for argument in manifest.arguments)
            size = sum(len(each.initial) for each in found.maps() if each.name == ATTRIBUTES)
    except KernelRefused as exc:
        raise InvalidArgument(f"{source} is no object file for BPF: {exc}") from None
    except InvalidArgument as exc:
        raise InvalidArgument(f"{source} is no handler that can be used: {exc}") from None
    return ObjectCode(data, manifest.needs, {name: name for name in manifest.states}, constants, size), manifest


def _manifest_of(found: Object) -> bytes:
    programs = {program.name for program in found.programs()}
    for name in _PROGRAMS:
        if name not in programs:
            raise InvalidArgument(f"program {name!r} is missing: {_LINES}")
    sections = {each.name: each for each in found.maps()}
    for name in (HANDLED, MANIFEST):
        if name not in sections:
            raise InvalidArgument(f"{name!r} is missing: {_LINES}")
    return sections[MANIFEST].initial


def _check(found: Object, manifest: Manifest) -> None:
    LAYOUTS.require(found.layouts("fp_handler_event"), "it")
    maps = {each.name: each for each in found.maps()}
    for name in maps:
        if not name.startswith(".") and name not in manifest.states and name != HANDLED:
            raise InvalidArgument(f"map {name!r} is not declared by HANDLER_COUNTER, HANDLER_MAP or HANDLER_LRU_MAP")
    missing = manifest.states.keys() - maps.keys()
    if missing:
        raise InvalidArgument(f"map {min(missing)!r} is declared, but it is not there")


def _placed(argument: Argument, variables: Mapping[str, Field]) -> model.Attribute:
    kind = _of_kind(argument.kind)
    found = variables.get(argument.name)
    if found is None:
        raise InvalidArgument(f"argument {argument.name!r} is declared, but it is not there")
    if found.size != size_of(kind) or found.offset % model.WORD_BYTES:
        raise InvalidArgument(f"argument {argument.name!r} has {found.size} bytes, not the {size_of(kind)} declared")
    return model.Attribute(argument.name, kind, found.offset, found.size)


def _of_kind(kind: Kind) -> model.AttributeKind:
    make: Callable[[Any], model.AttributeKind] = _CONSTANTS[type(kind)]
    return make(kind)


_CONSTANTS: Final[Mapping[type[Kind], Callable[[Any], model.AttributeKind]]] = {
    Integer: lambda kind: model.IntKind(I64),
    BytesList: lambda kind: model.TextsKind(kind.max_items, kind.max_bytes),
    IntegerSet: lambda kind: model.SetKind(kind.max_items, width(32, signed=False)),
    Roots: lambda kind: model.RootsKind(),
}
