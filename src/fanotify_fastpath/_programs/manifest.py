"""What a program says of itself: lines of text in its object, written by the macros of ``handler_lines.bpf.h``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fanotify_fastpath._bpf._abi import LAYOUTS, FpField
from fanotify_fastpath.arguments import Argument, BytesList, Integer, IntegerSet, Kind, Roots
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.handlers import Depends, HandlerFlags
from fanotify_fastpath.state import Counter, StateMap

T = TypeVar("T")

_VERSION: Final = LAYOUTS.enums["fp_handler_limit"]["FP_EVENT_VERSION"]
_MOST_DIGITS: Final = 9
_MAP_TYPES: Final = {"hash": False, "lru": True}


@dataclass(slots=True)
class Manifest:
    """
    What the lines say.

    :ivar name: of the handler
    :ivar desc: one line for people
    :ivar flags: properties
    :ivar needs: of :class:`FpField`: what it needs to know of an event
    :ivar depends: what the verdict depends on
    :ivar arguments: what an attach is given, in the order in which the object has it
    :ivar states: what it remembers, by the names of the object's maps
    """

    name: str = ""
    desc: str = ""
    flags: HandlerFlags = field(default_factory=lambda: HandlerFlags(0))
    needs: int = 0
    depends: Depends = Depends.ALL
    arguments: list[Argument] = field(default_factory=list)
    states: dict[str, Counter | StateMap] = field(default_factory=dict)


def read_manifest(section: bytes) -> Manifest:
    """
    Read the lines.

    :param section: lines, and between them any number of zeros
    :raises InvalidArgument: a line is not right, or the object was made for another version of the headers
    """
    manifest, first = Manifest(), {}
    for line in filter(None, section.replace(b"\0", b"").split(b"\n")):
        try:
            word, _, rest = line.decode().partition(" ")
            if word in _ONCE and word in first:
                raise InvalidArgument(f"{word!r} is said twice")
            first[word] = rest
            _find(_READERS, word)(manifest, rest)
        except (InvalidArgument, UnicodeDecodeError) as exc:
            said = exc if isinstance(exc, InvalidArgument) else "it is not UTF-8"
            raise InvalidArgument(f"line {line!r:.80} of its manifest is not right: {said}") from None
    if "name" not in first or "version" not in first:
        raise InvalidArgument('it does not say what it is called: HANDLER("name", "description") is missing')
    return manifest


def _read_version(manifest: Manifest, rest: str) -> None:
    if rest != str(_VERSION):
        raise InvalidArgument(f"it was compiled for version {rest} of handler.h, this is {_VERSION}: compile it again")


def _read_name(manifest: Manifest, rest: str) -> None:
    manifest.name = rest


def _read_desc(manifest: Manifest, rest: str) -> None:
    manifest.desc = rest


def _read_flags(manifest: Manifest, rest: str) -> None:
    for word in rest.split():
        manifest.flags |= _member(HandlerFlags.__members__, word)


def _read_needs(manifest: Manifest, rest: str) -> None:
    for word in rest.split():
        manifest.needs |= _member(FpField.__members__, word)


def _read_depends(manifest: Manifest, rest: str) -> None:
    manifest.depends = Depends.NOTHING
    for word in rest.split():
        manifest.depends |= _member(Depends.__members__, word)


def _read_argument(manifest: Manifest, rest: str) -> None:
    name, _, rest = rest.partition(" ")
    word, _, rest = rest.partition(" ")
    make, n_numbers = _find(_KINDS, word)
    *numbers, desc = rest.split(" ", n_numbers)
    if len(numbers) != n_numbers:
        raise InvalidArgument(f"an argument of kind {word!r} has {n_numbers} numbers and a description")
    kind = make(*map(_number, numbers))
    _check_free(manifest, name)
    manifest.arguments.append(Argument(name, kind, desc))
    if isinstance(kind, Roots):
        manifest.needs |= FpField.PLACE


def _read_counter(manifest: Manifest, rest: str) -> None:
    _declare(manifest, rest, Counter())


def _read_map(manifest: Manifest, rest: str) -> None:
    words = rest.split(" ")
    if len(words) != 4:
        raise InvalidArgument("a map has a name, a type and two numbers")
    name, type_name, n_entries, n_words = words
    evict = _find(_MAP_TYPES, type_name)
    _declare(manifest, name, StateMap(max_entries=_number(n_entries), key_words=_number(n_words), evict=evict))


def _declare(manifest: Manifest, name: str, declared: Counter | StateMap) -> None:
    _check_free(manifest, name)
    manifest.states[name] = declared


def _check_free(manifest: Manifest, name: str) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise InvalidArgument(f"{name!r} cannot be a name")
    if name in manifest.states or name in {argument.name for argument in manifest.arguments}:
        raise InvalidArgument(f"{name!r} is declared twice")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) > 0):
        raise InvalidArgument(f"{text!r} is not a number above 0")
    return int(text)


def _member(members: Mapping[str, T], word: str) -> T:
    return _find({name.lower(): member for name, member in members.items()}, word.lower())


def _find(known: Mapping[str, T], word: str) -> T:
    if word not in known:
        raise InvalidArgument(f"unknown word {word!r}; known are {', '.join(known)}")
    return known[word]


_READERS: Final = {
    "version": _read_version,
    "name": _read_name,
    "desc": _read_desc,
    "flags": _read_flags,
    "needs": _read_needs,
    "depends": _read_depends,
    "argument": _read_argument,
    "counter": _read_counter,
    "map": _read_map,
}
#: what may be said once
_ONCE: Final = ("version", "name", "desc", "depends")
#: kinds of arguments, with how many numbers each is declared
_KINDS: Final[Mapping[str, tuple[Callable[..., Kind], int]]] = {
    "integer": (Integer, 0),
    "texts": (BytesList, 2),
    "integers": (IntegerSet, 1),
    "roots": (Roots, 1),
}
