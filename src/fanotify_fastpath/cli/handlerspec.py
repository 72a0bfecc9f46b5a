"""
``--handler NAME[:k=v,…]``: handlers and their arguments on a command line.

``,`` separates arguments, ``+`` separates the items of an argument that is a list, and a backslash takes the meaning
from the character behind it: ``ignore-prefix:prefixes=.+~`` has the two prefixes ``.`` and ``~``;
``allow-deny-list:mode=allow,globs=*.c\\+\\+`` has the one pattern ``*.c++``.
"""

from collections.abc import Sequence
from typing import Any

from fanotify_fastpath.arguments import Argument, BytesList, Choice, Integer, IntegerSet, Kind, Roots
from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.text import encode
from fanotify_fastpath.registry import registry

_LISTS = (BytesList, IntegerSet, Roots)


def split(text: str, separator: str, maximum: int = -1) -> list[str]:
    """Split at each *separator* without a backslash before it; the backslashes stay."""
    parts, current, chars = [], "", iter(text)
    for char in chars:
        if char == "\\":
            current += char + next(chars, "")
        elif char == separator and maximum != 0:
            parts.append(current)
            current = ""
            maximum -= 1
        else:
            current += char
    return [*parts, current]


def unescape(text: str) -> str:
    """Take the backslashes away."""
    chars = iter(text)
    return "".join(next(chars, char) if char == "\\" else char for char in chars)


def parse_handler(text: str) -> tuple[str, dict[str, Any]]:
    """
    Turn the text of one ``--handler`` into a name and arguments.

    :raises HandlerNotFound: no handler of that name
    :raises UsageError: an argument is unknown, given twice, or not of the form ``k=v``
    """
    name, *rest = split(text, ":", 1)
    name = unescape(name)
    declared = registry.get(name).arguments
    values: dict[str, Any] = {}
    for pair in split(rest[0], ",") if rest and rest[0] else []:
        key, *value = split(pair, "=", 1)
        key = unescape(key).strip()
        if not value:
            raise UsageError(
                f"argument {pair!r} of handler {name!r} has no value; write {name}:key=value ({_known(declared)})"
            )
        if key in values:
            raise UsageError(f"argument {key!r} of handler {name!r} is given twice; join the items of a list with +")
        values[key] = _convert(name, _declaration(name, declared, key), value[0])
    return name, values


def _declaration(handler: str, declared: Sequence[Argument], key: str) -> Argument:
    for argument in declared:
        if argument.name == key:
            return argument
    raise UsageError(f"handler {handler!r} has no argument {key!r}; {_known(declared)}")


def _convert(handler: str, argument: Argument, text: str) -> Any:
    """Give the text the form that the argument's kind takes; kinds check the rest."""
    items = [unescape(item) for item in split(text, "+")] if text else []
    kind = argument.kind
    if isinstance(kind, IntegerSet):
        return [_integer(handler, argument, item) for item in items]
    if isinstance(kind, _LISTS):
        return [encode(item) for item in items]
    if isinstance(kind, Integer):
        return _integer(handler, argument, unescape(text))
    return unescape(text)


def _integer(handler: str, argument: Argument, text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(
            f"argument {argument.name!r} of handler {handler!r} is {text!r}, not {argument.kind.describe()}"
        ) from None


def _known(declared: Sequence[Argument]) -> str:
    if not declared:
        return "it takes no arguments"
    return "its arguments are " + ", ".join(f"{a.name}={_example(a.kind)}" for a in declared)


def _example(kind: Kind) -> str:
    if isinstance(kind, Choice):
        return "|".join(kind.words)
    return "ITEM[+ITEM…]" if isinstance(kind, _LISTS) else "VALUE"
