"""How structures and enumerations of C lie in memory, and where two such views disagree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fanotify_fastpath.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Field:
    """
    A member of a structure.

    :ivar offset: in bytes
    :ivar size: in bytes
    :ivar code: as :mod:`struct` writes it; of arrays and inner structures ``"32s"``, their bytes
    """

    offset: int
    size: int
    code: str


@dataclass(frozen=True, slots=True)
class Layout:
    """
    A structure.

    :ivar size: in bytes
    :ivar fields: its members by name, in order
    """

    size: int
    fields: Mapping[str, Field]

    @property
    def format(self) -> str:
        """The format for :class:`struct.Struct`; right only without padding."""
        return "=" + "".join(one.code for one in self.fields.values())


@dataclass(frozen=True, slots=True)
class Layouts:
    """
    Structures and enumerations by their names in C.

    :ivar structs: without ``struct``
    :ivar enums: without ``enum``; numbers by name
    """

    structs: Mapping[str, Layout] = field(default_factory=dict)
    enums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def differences(self, other: "Layouts") -> Iterator[str]:
        """Tell, for what both have, where *other* differs: one sentence for each."""
        for name in sorted(self.structs.keys() & other.structs.keys()):
            yield from _struct_differences(name, self.structs[name], other.structs[name])
        for name in sorted(self.enums.keys() & other.enums.keys()):
            yield from _enum_differences(name, self.enums[name], other.enums[name])

    def require(self, other: "Layouts", what: str) -> None:
        """
        Refuse where *other* differs.

        :param what: what *other* is of, for the message
        :raises InvalidArgument: with every difference
        """
        found = list(other.differences(self))
        if found:
            raise InvalidArgument(f"{what} was not made for this version of the package: {'; '.join(found)}")


def _struct_differences(name: str, mine: Layout, other: Layout) -> Iterator[str]:
    for field_name in {**mine.fields, **other.fields}:
        one, two = mine.fields.get(field_name), other.fields.get(field_name)
        if one != two:
            yield f"struct {name}: {field_name} is {_said(one)}, not {_said(two)}"
    if mine.size != other.size:
        yield f"struct {name} has {mine.size} bytes, not {other.size}"


def _enum_differences(name: str, mine: Mapping[str, int], other: Mapping[str, int]) -> Iterator[str]:
    for member in {**mine, **other}:
        one, two = mine.get(member), other.get(member)
        if one != two:
            said = ["missing" if number is None else str(number) for number in (one, two)]
            yield f"enum {name}: {member} is {said[0]}, not {said[1]}"


def _said(one: Field | None) -> str:
    return "missing" if one is None else f"{one.code!r} at offset {one.offset}"
