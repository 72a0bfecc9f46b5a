"""Compiled handlers, run by this machine instead of the kernel: the same code, without the verifier."""

import ctypes
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from fanotify_fastpath._bpf._abi import LAYOUTS, FpField, FpVerdict
from fanotify_fastpath._compiler.function import compile_function
from fanotify_fastpath._compiler.globs import TABLE_WORDS, Glob
from fanotify_fastpath._compiler.linking import binding
from fanotify_fastpath._compiler.model import Compiled, CounterKind
from fanotify_fastpath._compiler.packing import pack
from fanotify_fastpath.compiling import EVENT_LAYOUT, describe_handler
from fanotify_fastpath.errors import CompileError
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.verdict import Verdict, VerdictKind

EVENT = LAYOUTS.structs["fp_handler_event"]
BITS = {
    "name": FpField.NAME,
    "dev": FpField.INODE,
    "inode": FpField.INODE,
    "dir_inode": FpField.DIR_INODE,
    **dict.fromkeys(("size", "mode", "owner_uid", "owner_gid", "n_links"), FpField.OBJECT),
    "uid": FpField.USER,
    "gid": FpField.USER,
    "comm": FpField.COMM,
    "exe": FpField.EXE,
    "cgroup_id": FpField.CGROUP,
    "depth": FpField.DEPTH,
    "ancestors": FpField.ANCESTORS,
}
ALWAYS = {"mask": 0, "time_ns": 0, "tgid": 0}


def event_bytes(inside: dict[int, bool] | None, **fields: Any) -> bytes:
    """An event in memory; what is not given is unknown, and what is unknown has odd values."""
    found = bytearray(b"\xa5" * EVENT.size)
    for name in ("name", "exe", "comm"):
        _put(found, name, bytes(EVENT.fields[name].size))
        _put(found, f"{name}_len", 77 if name != "comm" else 9)
    _put(found, "n_ancestors", 77)
    known = 0
    for name, value in {**ALWAYS, **fields}.items():
        known |= BITS.get(name, 0)
        if name == "ancestors":
            _put(found, name, struct.pack(f"={len(value)}I", *value))
            _put(found, "n_ancestors", len(value))
        elif isinstance(value, bytes):
            _put(found, name, value)
            _put(found, f"{name}_len", len(value))
        else:
            _put(found, name, value)
    if inside is not None:
        known |= FpField.PLACE
        words = [sum(is_in << slot % 64 for slot, is_in in inside.items() if slot // 64 == n) for n in range(4)]
        _put(found, "inside", struct.pack("=4Q", *words))
    _put(found, "known", known)
    return bytes(found)


def _put(found: bytearray, name: str, value: int | bytes) -> None:
    field = EVENT.fields[name]
    packed = value if isinstance(value, bytes) else struct.pack(f"={field.code}", value)
    found[field.offset : field.offset + len(packed)] = packed


def python_event(inside: dict[int, bool] | None, **fields: Any) -> Any:
    """The same event for Python."""
    known: dict[str, Any] = {**dict.fromkeys(BITS), "ancestors": (), **ALWAYS, **fields}
    known["is_dir"] = bool(known["mask"] & 0x40000000)
    return SimpleNamespace(**known, inside=lambda roots: None if inside is None else inside.get(roots.slot, False))


class Native:
    """
    A handler that is compiled for this machine.

    :ivar compiled: what the compiler made
    :ivar tables: its state: by number of the map, values by key
    """

    def __init__(self, handler: type[Handler]) -> None:
        vocabulary = describe_handler(handler)
        compiled = compile_function(handler, EVENT_LAYOUT, vocabulary, FpVerdict.FAILED)
        if isinstance(compiled, CompileError):
            raise compiled
        self.compiled: Compiled = compiled
        self.kinds = [vocabulary.state[name] for name in self.compiled.state]
        self.tables: list[dict[bytes, Any]] = [
            {bytes(4): ctypes.c_uint64(0)} if isinstance(kind, CounterKind) else {} for kind in self.kinds
        ]
        self._callbacks = list(_callbacks(self))
        ir = self.compiled.ir.replace("= weak constant", "= global").replace("external global i8", "global i64 0")
        for number, callback in enumerate(self._callbacks, 1):
            address = ctypes.cast(callback, ctypes.c_void_p).value
            ir = ir.replace(f"inttoptr (i64 {number} to ptr)", f"inttoptr (i64 {address} to ptr)")
        self._of_frame = [
            _symbol("fits_glob", self._fits_glob, 3),
            _symbol("contains", self._contains, 4),
        ]
        self._engine = _engine(ir)
        self._maps = [self._engine.get_global_value_address(f"state_{n}") for n in range(len(self.kinds))]
        function = self._engine.get_function_address("handle")
        self._handle = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(function)

    def run(self, instance: Handler, event: bytes) -> int:
        """The number that ``handle`` returns."""
        packed = pack(self.compiled, instance, lambda roots: roots.slot)
        ctypes.memmove(self._engine.get_global_value_address("attributes"), packed, len(packed))
        return int(self._handle(ctypes.create_string_buffer(event, len(event))))

    def _fits_glob(self, event: int, offset: int, length: int, at: int) -> int:
        """What the frame does."""
        tables = self._engine.get_global_value_address("attributes") + at
        stars, accept, *table = struct.unpack(f"={TABLE_WORDS}Q", ctypes.string_at(tables, 8 * TABLE_WORDS))
        return int(Glob(stars, accept, tuple(table)).matches(ctypes.string_at(event + offset, length)))

    def _contains(self, event: int, offset: int, length: int, at: int, wanted: int) -> int:
        constants = self._engine.get_global_value_address("attributes")
        return int(ctypes.string_at(constants + at, wanted) in ctypes.string_at(event + offset, length))

    def table(self, address: int) -> tuple[dict[bytes, Any], Any]:
        """The entries of a map, and what it is."""
        n = self._maps.index(address)
        return self.tables[n], self.kinds[n]


def _symbol(name: str, function: Any, n_numbers: int) -> Any:
    """A function of the frame, for compiled code to call."""
    made = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *[ctypes.c_uint32] * n_numbers)(function)
    binding().add_symbol(name, ctypes.cast(made, ctypes.c_void_p).value)
    return made


def _engine(ir: str) -> Any:
    llvm = binding()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(ir)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1)
    return _finalized(llvm.create_mcjit_compiler(module, machine))


def _finalized(engine: Any) -> Any:
    engine.finalize_object()
    return engine


def _callbacks(native: Native) -> Iterator[Any]:
    def read(key: int, kind: Any) -> bytes:
        return ctypes.string_at(key, 4 if isinstance(kind, CounterKind) else kind.key_size)

    def lookup(of: int, key: int) -> int | None:
        table, kind = native.table(of)
        value = table.get(read(key, kind))
        return None if value is None else ctypes.addressof(value)

    def update(of: int, key: int, value: int, flags: int) -> int:
        table, kind = native.table(of)
        where = read(key, kind)
        if flags and where in table:
            return -17
        if where not in table and len(table) >= kind.max_entries:
            return -7
        table[where] = ctypes.c_uint64.from_buffer_copy(ctypes.string_at(value, 8))
        return 0

    def delete(of: int, key: int) -> int:
        table, kind = native.table(of)
        return 0 if table.pop(read(key, kind), None) else -2

    pointer = ctypes.c_void_p
    yield ctypes.CFUNCTYPE(pointer, pointer, pointer)(lookup)
    yield ctypes.CFUNCTYPE(ctypes.c_int64, pointer, pointer, pointer, ctypes.c_int64)(update)
    yield ctypes.CFUNCTYPE(ctypes.c_int64, pointer, pointer)(delete)


def number_of(verdict: Verdict) -> int:
    """As compiled code returns a verdict."""
    if verdict.kind is VerdictKind.DENY:
        return -verdict.errno
    return int(FpVerdict.SEND_TO_USERSPACE if verdict.kind is VerdictKind.SEND_TO_USERSPACE else FpVerdict.SKIP_EVENT)


def by_python(instance: Handler, event: Any) -> int:
    """What CPython says."""
    try:
        return number_of(instance.handle(event))
    except Exception:
        return int(FpVerdict.FAILED)


def check(
    handler: type[Handler], *events: dict[str, Any], inside: dict[int, bool] | None = None, **attributes: Any
) -> list[int]:
    """Compare both on events; return what they say."""
    compiled, interpreted, native = handler(), handler(), Native(handler)
    for name, value in attributes.items():
        setattr(compiled, name, value)
        setattr(interpreted, name, value)
    said = []
    for fields in events:
        found = native.run(compiled, event_bytes(inside, **fields))
        expected = by_python(interpreted, python_event(inside, **fields))
        assert found == expected, (fields, attributes)
        said.append(found)
    return said
