"""``fanfp handlers``: what can be attached by name."""

import argparse
import json
from typing import Any

from fanotify_fastpath.arguments import Argument
from fanotify_fastpath.cli.exits import Exit, UsageError
from fanotify_fastpath.handlers import Depends, Handler, HandlerFlags
from fanotify_fastpath.registry import describe, registry


def run(options: argparse.Namespace) -> int:
    """List or show; return the exit code."""
    if options.action == "show":
        if options.name is None:
            raise UsageError("show what? write 'fanfp handlers show NAME'; 'fanfp handlers' lists the names")
        handler = registry.get(options.name)
        print(
            json.dumps(as_dict(handler), indent=2) if options.json else as_text(handler),
            end="\n" if options.json else "",
        )
        return Exit.DONE
    if options.name is not None:
        raise UsageError(f"list takes no name; write 'fanfp handlers show {options.name}'")
    if options.json:
        print(json.dumps([as_dict(handler) for handler in registry], indent=2))
    else:
        _print_table()
    return Exit.DONE


def as_text(handler: type[Handler]) -> str:
    """What the discovery tree says of a handler, and what its verdict depends on."""
    depends = " ".join(depend_names(handler)) or "N/A"
    return "".join(f"{key}: {text}" for key, text in describe(handler).items()) + f"depends: {depends}\n"


def as_dict(handler: type[Handler]) -> dict[str, Any]:
    """The same for machines, with the arguments one by one."""
    texts = describe(handler)
    return {
        "name": handler.name,
        "flags": texts["flags"].split(),
        "desc": texts["desc"].removesuffix("\n"),
        "init_args": texts["init_args"].removesuffix("\n"),
        "arguments": [_argument(argument) for argument in handler.arguments],
        "depends": depend_names(handler),
    }


def depend_names(handler: type[Handler]) -> list[str]:
    """Names of what a verdict depends on."""
    return [str(one.name) for one in Depends if one in handler.depends and one.value]


def _argument(argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "kind": argument.kind.describe(),
        "desc": argument.desc,
        "required": argument.default is ...,
    }


def _print_table() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "flags", "description", box=None, pad_edge=False, header_style="bold")
    for handler in registry:
        flags = " ".join(flag.name or "" for flag in HandlerFlags if flag in handler.flags)
        table.add_row(handler.name, flags or "-", handler.desc)
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or pipe has no width to wrap at
        console.width = 1000
    console.print(table)
