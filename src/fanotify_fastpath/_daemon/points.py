"""The roots and exceptions of one set of a client, to be found by number and by identity: there may be thousands."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from fanotify_fastpath.roots import Root

_NOTHING: Final[Mapping[int, bool]] = MappingProxyType({})


class Points:
    """Roots and exceptions by the client's numbers. One object may have several."""

    def __init__(self) -> None:
        self._roots: dict[int, Root] = {}
        self._numbers: dict[bytes, dict[int, bool]] = {}

    def __len__(self) -> int:
        return len(self._roots)

    def __contains__(self, number: int) -> bool:
        return number in self._roots

    def __getitem__(self, number: int) -> Root:
        return self._roots[number]

    def add(self, number: int, root: Root, *, included: bool) -> None:
        """Note a root, or an exception, under a number that is not in use."""
        self._roots[number] = root
        self._numbers.setdefault(root.key, {})[number] = included

    def pop(self, number: int) -> Root | None:
        """Forget what has that number, if anything has."""
        root = self._roots.pop(number, None)
        if root is not None:
            numbers = self._numbers[root.key]
            del numbers[number]
            if not numbers:
                del self._numbers[root.key]
        return root

    def at(self, key: bytes) -> Mapping[int, bool]:
        """The numbers of an object, by its identity, and whether it is a root under that number."""
        return self._numbers.get(key, _NOTHING)

    def pop_all(self, keys: Collection[bytes]) -> dict[int, Root]:
        """Forget objects; return what was forgotten, by number."""
        numbers = [number for key in keys for number in self.at(key)]
        return {number: root for number in numbers if (root := self.pop(number)) is not None}
