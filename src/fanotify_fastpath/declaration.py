"""What a handler declares about itself, as text and as plain values."""

from typing import Any

from fanotify_fastpath.arguments import Argument
from fanotify_fastpath.handlers import Depends, Handler, HandlerFlags


def describe(handler: type[Handler]) -> dict[str, str]:
    """
    Give what the RFC's discovery tree gives, as exact text.

    :return: ``flags`` (names separated by a space), ``desc`` and ``init_args`` (``N/A`` when empty), each with a
        newline
    """
    flags = [flag.name or "" for flag in HandlerFlags if flag in handler.flags]
    arguments = "; ".join(f"{a.name}: {a.kind.describe()} ({a.desc})" for a in handler.arguments)
    return {
        "flags": " ".join(flags) + "\n",
        "desc": (handler.desc or "N/A") + "\n",
        "init_args": (arguments or "N/A") + "\n",
    }


def declared(handler: type[Handler]) -> dict[str, Any]:
    """
    Give the rest, for machines.

    :return: ``arguments``, each with ``name``, ``kind``, ``desc`` and ``required``; and ``depends``, names of what the
        verdict depends on
    """
    return {
        "arguments": [_argument(argument) for argument in handler.arguments],
        "depends": [str(one.name) for one in Depends if one in handler.depends and one.value],
    }


def _argument(argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "kind": argument.kind.describe(),
        "desc": argument.desc,
        "required": argument.default is ...,
    }
