"""
The types of an object file, from its BTF.

:source: Documentation/bpf/btf.rst (v6.12)
"""

from collections.abc import Iterator
from typing import Any

from fanotify_fastpath._bpf._cdefs import library
from fanotify_fastpath._bpf.layout import Field, Layout, Layouts
from fanotify_fastpath.errors import InvalidArgument

_INT, _ARRAY, _STRUCT, _ENUM, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _DATASEC = 1, 3, 4, 6, 8, 9, 10, 11, 15
_SIGNED = 1 << 24
_UNSIGNED_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def read_layouts(btf: Any, prefix: str) -> Layouts:
    """
    Find the structures and enumerations whose names begin with *prefix*.

    :param btf: a ``struct btf *`` of libbpf
    :raises InvalidArgument: one has a member that cannot be described: a pointer, a union, a bit field
    """
    reader = _Reader(btf)
    structs, enums = {}, {}
    for type_id in range(1, int(library().c.btf__type_cnt(btf))):
        kind, name = reader.kind(type_id), reader.name(reader.type(type_id).name_off)
        if kind == _STRUCT and name.startswith(prefix):
            structs[name] = reader.layout(type_id, name)
        elif kind == _ENUM and name.startswith(prefix):
            enums[name] = reader.numbers(type_id)
    return Layouts(structs, enums)


def read_variables(btf: Any, section: str) -> dict[str, Field]:
    """
    Find where the global variables of a section lie, in bytes.

    :param btf: a ``struct btf *`` of libbpf
    """
    reader = _Reader(btf)
    found: dict[str, Field] = {}
    for type_id in range(1, int(library().c.btf__type_cnt(btf))):
        if reader.kind(type_id) == _DATASEC and reader.name(reader.type(type_id).name_off) == section:
            found.update(reader.variables(type_id))
    return found


def kernel_has_member(struct: str, member: str) -> bool:
    """Tell whether a structure of the running kernel has a member of that name; no, where the kernel does not say."""
    lib = library()
    btf = lib.c.btf__load_vmlinux_btf()
    if btf == lib.ffi.NULL:
        return False
    try:
        type_id = int(lib.c.btf__find_by_name_kind(btf, struct.encode(), _STRUCT))
        return type_id > 0 and member in _Reader(btf).members(type_id)
    finally:
        lib.c.btf__free(btf)


class _Reader:
    def __init__(self, btf: Any) -> None:
        self._btf = btf
        self._lib = library()

    def type(self, type_id: int) -> Any:
        return self._lib.c.btf__type_by_id(self._btf, type_id)

    def kind(self, type_id: int) -> int:
        return int(self.type(type_id).info) >> 24 & 0x1F

    def name(self, offset: int) -> str:
        return str(self._lib.ffi.string(self._lib.c.btf__name_by_offset(self._btf, offset)).decode())

    def layout(self, type_id: int, name: str) -> Layout:
        """A structure; ``name`` for messages."""
        fields = {}
        for member in self._entries(type_id, "struct btf_member"):
            member_name = self.name(member.name_off)
            if member.offset_bits % 8 or self.type(type_id).info >> 31:
                raise InvalidArgument(f"struct {name}: {member_name} is a bit field")
            fields[member_name] = self._field(member.type, member.offset_bits // 8, f"struct {name}: {member_name}")
        return Layout(int(self.type(type_id).size_or_type), fields)

    def members(self, type_id: int) -> list[str]:
        """Names of the members of a structure."""
        return [self.name(member.name_off) for member in self._entries(type_id, "struct btf_member")]

    def variables(self, type_id: int) -> Iterator[tuple[str, Field]]:
        """The variables of a section."""
        for one in self._entries(type_id, "struct btf_var_secinfo"):
            yield self.name(self.type(one.type).name_off), Field(int(one.offset), int(one.size), f"{one.size}s")

    def numbers(self, type_id: int) -> dict[str, int]:
        """The members of an enumeration."""
        return {self.name(one.name_off): int(one.value) for one in self._entries(type_id, "struct btf_enum")}

    def _entries(self, type_id: int, c_type: str) -> list[Any]:
        """What follows a type: as many of *c_type* as it says."""
        found = self.type(type_id)
        first = self._lib.ffi.cast(f"{c_type} *", found + 1)
        return [first[n] for n in range(found.info & 0xFFFF)]

    def _field(self, type_id: int, offset: int, what: str) -> Field:
        while self.kind(type_id) in (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT):
            type_id = self.type(type_id).size_or_type
        kind, size = self.kind(type_id), int(self._lib.c.btf__resolve_size(self._btf, type_id))
        if kind in (_ARRAY, _STRUCT):
            return Field(offset, size, f"{size}s")
        if kind not in (_INT, _ENUM) or size not in _UNSIGNED_CODES:
            raise InvalidArgument(f"{what} is neither a number nor an array nor a structure")
        code = _UNSIGNED_CODES[size]
        return Field(offset, size, code.lower() if self._is_signed(type_id, kind) else code)

    def _is_signed(self, type_id: int, kind: int) -> bool:
        if kind == _ENUM:
            return any(number < 0 for number in self.numbers(type_id).values())
        encoding = self._lib.ffi.cast("uint32_t *", self.type(type_id) + 1)[0]
        return bool(encoding & _SIGNED)
