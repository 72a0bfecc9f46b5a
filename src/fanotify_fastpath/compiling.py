"""
Handlers compiled for the engine in the kernel: what the compiler must know about this package, and what it made.
"""

import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin
from weakref import WeakKeyDictionary

from fanotify_fastpath._bpf._abi import LAYOUTS, FpField, FpVerdict
from fanotify_fastpath._compiler import model
from fanotify_fastpath._compiler.function import compile_function
from fanotify_fastpath._compiler.linking import link
from fanotify_fastpath._compiler.packing import pack
from fanotify_fastpath._compiler.ranges import I64, Range, width
from fanotify_fastpath._programs import shipped
from fanotify_fastpath._programs.code import Code
from fanotify_fastpath._programs.handler import HandlerInC
from fanotify_fastpath.arguments import BytesList, Choice, Integer, IntegerSet, Kind, Roots
from fanotify_fastpath.errors import CompileError, FastpathError, UnsupportedFeature
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.state import Counter, StateMap
from fanotify_fastpath.verdict import DENY_ERRNOS, Verdict, VerdictKind, deny
from fanotify_fastpath.widths import WIDTHS, Bytes, Items, Width

_EVENT = LAYOUTS.structs["fp_handler_event"]
#: what was compiled in this process
_codes: "WeakKeyDictionary[type[Handler], CompiledHandler | FastpathError]" = WeakKeyDictionary()
_NUMBERS = {
    VerdictKind.SEND_TO_USERSPACE: FpVerdict.SEND_TO_USERSPACE,
    VerdictKind.SKIP_EVENT: FpVerdict.SKIP_EVENT,
}


@dataclass(frozen=True, slots=True)
class CompiledHandler:
    """
    A handler as an object for the kernel.

    :ivar handler: its class
    :ivar object_file: its content
    :ivar needs: ``enum fp_field`` of what the event must have
    :ivar compiled: what the compiler made of ``handle``
    :ivar state: the state that it uses, by name, in the order of the maps ``state_0`` and so on
    """

    handler: type[Handler]
    object_file: bytes
    needs: int
    compiled: model.Compiled
    state: dict[str, model.StateKind]

    @property
    def states(self) -> dict[str, str]:
        """The map of each attribute that is state."""
        return {name: f"state_{n}" for n, name in enumerate(self.state)}

    def pack(self, handler: Handler, slot_of: Callable[[RootSet], int | None]) -> bytes:
        """
        The constants of one attach.

        :param handler: after its ``init``
        :param slot_of: number of a root set's slot, None if it has none
        :return: the content of ``.rodata.attributes``
        :raises InvalidArgument: an attribute is not what it was declared to be
        """
        return pack(self.compiled, handler, slot_of)


def code_of(handler: type[Handler]) -> Code:
    """
    Give the code of a handler, compiled once, unless it came as code.

    :raises: as :func:`compile_handler`
    """
    if issubclass(handler, HandlerInC):
        return handler.code
    found = _codes.get(handler)
    if found is None:
        try:
            found = compile_handler(handler, read_frame())
        except FastpathError as exc:
            found = exc
        _codes[handler] = found
    if isinstance(found, FastpathError):
        raise found.with_traceback(None)
    return found


def compile_handler(handler: type[Handler], frame: bytes) -> CompiledHandler:
    """
    Compile a handler. Those that come with the package were, when it was built.

    :param handler: its class
    :param frame: the bitcode that calls it, see :func:`read_frame`
    :raises CompileError: something in it cannot be compiled
    :raises InvalidArgument: its source is not to be had, or LLVM cannot make a program of it
    :raises UnsupportedFeature: llvmlite is not installed
    """
    vocabulary = describe_handler(handler)
    compiled = compile_function(handler, EVENT_LAYOUT, vocabulary, FpVerdict.FAILED)
    if isinstance(compiled, CompileError):
        raise compiled
    state = {name: vocabulary.state[name] for name in compiled.state}
    data = shipped.find(compiled.ir, frame) or link(compiled.ir, frame)
    return CompiledHandler(handler, data, compiled.needs, compiled, state)


def ship(handlers: Iterable[type[Handler]], frame: Path, objects: Path) -> None:
    """
    Compile handlers for the package that is being built.

    :param objects: its directory of objects
    """
    bitcode = frame.read_bytes()
    for handler in handlers:
        found = compile_handler(handler, bitcode)
        shipped.put(objects, found.compiled.ir, bitcode, found.object_file)


def read_frame() -> bytes:
    """
    The frame that came with the package.

    :raises UnsupportedFeature: it was built without clang
    """
    frame = resources.files("fanotify_fastpath._bpf").joinpath("objects", "handler_frame.bc")
    try:
        return frame.read_bytes()
    except FileNotFoundError:
        raise UnsupportedFeature("handlers cannot be compiled: this package was built without clang") from None


def describe_handler(handler: type[Handler]) -> model.Vocabulary:
    """What the compiler must know of a handler and of this package."""
    return model.Vocabulary(
        number_of=verdict_number,
        deny=deny,
        deny_errnos=DENY_ERRNOS,
        default_errno=deny().errno,
        casts=tuple((each, width(each.bits, signed=each.signed)) for each in WIDTHS),
        attributes={**_arguments(handler), **_annotated(handler)},
        state=_state(handler),
    )


def verdict_number(thing: object) -> int | None:
    """A verdict as the programs return it: ``enum fp_verdict``, or a negative error number; None if it is none."""
    if not isinstance(thing, Verdict):
        return None
    return -thing.errno if thing.kind is VerdictKind.DENY else int(_NUMBERS[thing.kind])


def _event_layout() -> model.EventLayout:
    def integer(name: str, bit: int = 0) -> model.EventInt:
        return model.EventInt(_EVENT.fields[name].offset, _EVENT.fields[name].size, bit)

    def text(name: str, bit: int, maximum: str) -> model.EventText:
        length = _EVENT.fields[f"{name}_len"].offset
        most = LAYOUTS.enums["fp_handler_limit"][maximum]
        return model.EventText(_EVENT.fields[name].offset, length, most, bit)

    of_object = ("size", "mode", "owner_uid", "owner_gid", "n_links")
    most = LAYOUTS.enums["fp_handler_limit"]["FP_N_ANCESTORS"]
    offsets = [_EVENT.fields[name].offset for name in ("ancestors", "n_ancestors")]
    fields: dict[str, model.EventField] = {
        "mask": integer("mask"),
        "is_dir": model.EventFlag(_EVENT.fields["mask"].offset, int(Mask.ONDIR)),
        "time_ns": integer("time_ns"),
        "tgid": integer("tgid"),
        "name": text("name", FpField.NAME, "FP_NAME_BYTES"),
        "dev": integer("dev", FpField.INODE),
        "inode": integer("inode", FpField.INODE),
        "dir_inode": integer("dir_inode", FpField.DIR_INODE),
        **{name: integer(name, FpField.OBJECT) for name in of_object},
        "uid": integer("uid", FpField.USER),
        "gid": integer("gid", FpField.USER),
        "comm": text("comm", FpField.COMM, "FP_COMM_BYTES"),
        "exe": text("exe", FpField.EXE, "FP_EXE_BYTES"),
        "cgroup_id": integer("cgroup_id", FpField.CGROUP),
        "depth": integer("depth", FpField.DEPTH),
        "ancestors": model.EventInts(offsets[0], offsets[1], most, FpField.ANCESTORS),
    }
    known, inside, unknown = (_EVENT.fields[name].offset for name in ("known", "inside", "time_ns"))
    return model.EventLayout(_EVENT.size, fields, known, inside, FpField.PLACE, unknown)


def _arguments(handler: type[Handler]) -> dict[str, model.AttributeKind]:
    """An attribute that is called like an argument is that argument."""
    found = ((argument.name, _of_kind(argument.kind)) for argument in handler.arguments)
    return {name: kind for name, kind in found if kind is not None}


def _of_kind(kind: Kind) -> model.AttributeKind | None:
    match kind:
        case Integer(minimum, maximum):
            return model.IntKind(Range(minimum, maximum))
        case Choice(words):
            return model.WordKind(words)
        case BytesList(max_items, max_bytes):
            return model.TextsKind(max_items, max_bytes)
        case IntegerSet(max_items):
            return model.SetKind(max_items, width(32, signed=False))
        case Roots():
            return model.RootsKind()
    return None


def _annotated(handler: type[Handler]) -> dict[str, model.AttributeKind]:
    """What the classes declare, apart from class variables."""
    found: dict[str, model.AttributeKind] = {}
    for each in reversed(handler.__mro__):
        if issubclass(each, Handler) and each is not Handler:
            hints = typing.get_type_hints(each, include_extras=True) if "__annotations__" in vars(each) else {}
            kinds = ((name, _of_hint(hints[name])) for name in vars(each).get("__annotations__", {}))
            found.update({name: kind for name, kind in kinds if kind is not None})
    return found


def _of_hint(hint: Any) -> model.AttributeKind | None:
    if isinstance(hint, Width):
        return model.IntKind(width(hint.bits, signed=hint.signed))
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is not Annotated or isinstance(hint, UnionType):
        return None
    inner, *bounds = get_args(hint)
    n_bytes = next((bound.maximum for bound in bounds if isinstance(bound, Bytes)), 0)
    n_items = next((bound.maximum for bound in bounds if isinstance(bound, Items)), 0)
    item = next(iter(get_args(inner)), None)
    numbers = width(item.bits, signed=item.signed) if isinstance(item, Width) else I64
    if inner is bytes:
        return model.TextKind(n_bytes)
    if get_origin(inner) in (tuple, list):
        return model.TextsKind(n_items, n_bytes) if item is bytes else model.IntsKind(n_items, numbers)
    return model.SetKind(n_items, numbers) if get_origin(inner) in (frozenset, set) else None


def _state(handler: type[Handler]) -> dict[str, model.StateKind]:
    found: dict[str, model.StateKind] = {}
    for name, thing in ((name, thing) for each in reversed(handler.__mro__) for name, thing in vars(each).items()):
        if isinstance(thing, Counter):
            found[name] = model.CounterKind()
        elif isinstance(thing, StateMap):
            words = 0 if thing.key_bytes else thing.key_words
            found[name] = model.TableKind(thing.max_entries, words, thing.key_bytes, thing.evict)
    return found


_PLAIN: dict[Any, model.AttributeKind] = {bool: model.BoolKind(), int: model.IntKind(I64), RootSet: model.RootsKind()}
#: the event of the programs
EVENT_LAYOUT = _event_layout()
