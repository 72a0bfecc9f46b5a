"""``fanfp handlers``: what can be attached by name, and loading more of it for all."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanotify_fastpath._modules.entries import Entry
from fanotify_fastpath._modules.listing import shared_list
from fanotify_fastpath.cli.exits import Exit, UsageError, say
from fanotify_fastpath.cli.text import escape, printable
from fanotify_fastpath.compiling import code_of
from fanotify_fastpath.declaration import declared, describe
from fanotify_fastpath.errors import FastpathError
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.modules import load_for_all, unload_for_all
from fanotify_fastpath.registry import registry

BUILT_IN = "built in"
_WHAT = {"show": "NAME", "load": "PACKAGE|FILE", "unload": "NAME|SOURCE"}


@dataclass(frozen=True, slots=True)
class Shown:
    """
    A handler as it is shown.

    :ivar name: its name
    :ivar source: where its code is
    :ivar texts: ``flags``, ``desc`` and ``init_args``, each with a newline
    :ivar declared: ``arguments`` and ``depends``
    :ivar n_attached: attaches that live now, in all processes; None when that is not known
    :ivar n_since_load: attaches by root since it was loaded; None when that is not known
    """

    name: str
    source: str
    texts: Mapping[str, str]
    declared: Mapping[str, Any]
    n_attached: int | None = None
    n_since_load: int | None = None


def run(options: argparse.Namespace) -> int:
    """List, show, load or unload; return the exit code."""
    _check(options)
    if options.action == "load":
        return _load(options.name)
    if options.action == "unload":
        for name in unload_for_all(options.name, force=options.force):
            print(f"unloaded {escape(name)}")
        return Exit.DONE
    if options.action == "show":
        shown, obstacle = _find(options.name), _obstacle(options.name)
        if options.json:
            print(json.dumps({**as_dict(shown), "in_kernel": obstacle is None, "obstacle": obstacle}, indent=2))
        else:
            print(as_text(shown) + _in_kernel(obstacle), end="")
    elif options.json:
        print(json.dumps([as_dict(shown) for shown in _all()], indent=2))
    else:
        _print_table(_all())
    return Exit.DONE


def as_text(shown: Shown) -> str:
    """What the discovery tree says of a handler, where it is from, who uses it, and what its verdict depends on."""
    lines = [f"{key}: {_lines(text)}" for key, text in shown.texts.items()]
    lines += [f"source: {escape(shown.source)}\n"]
    if shown.n_attached is not None:
        lines += [f"attachments: {shown.n_attached}\n", f"attachments_since_load: {shown.n_since_load}\n"]
    depends = " ".join(shown.declared["depends"]) or "N/A"
    return "".join(lines) + f"depends: {depends}\n"


def as_dict(shown: Shown) -> dict[str, Any]:
    """The same for machines, with the arguments one by one."""
    return {
        "name": shown.name,
        "source": shown.source,
        "flags": shown.texts["flags"].split(),
        "desc": shown.texts["desc"].removesuffix("\n"),
        "init_args": shown.texts["init_args"].removesuffix("\n"),
        "attachments": shown.n_attached,
        "attachments_since_load": shown.n_since_load,
        **shown.declared,
    }


def _check(options: argparse.Namespace) -> None:
    what = _WHAT.get(options.action)
    if what and options.name is None:
        raise UsageError(f"{options.action} what? write 'fanfp handlers {options.action} {what}'")
    if not what and options.name is not None:
        raise UsageError(f"list takes no name; write 'fanfp handlers show {options.name}'")
    if options.force and options.action != "unload":
        raise UsageError("--force goes with unload")
    if options.json and options.action in ("load", "unload"):
        raise UsageError("--json goes with list and show")


def _load(source: str) -> int:
    loaded = load_for_all(source)
    for name in loaded.names:
        print(f"loaded {escape(name)}")
    if loaded.unreadable:
        reason = printable(loaded.unreadable.splitlines()[0])
        say(f"fanfp: loaded, but not to be read below {shared_list.readable.decode()}: {reason}")
    return Exit.DONE


def _all() -> list[Shown]:
    """The handlers of the package and the shared ones, by name."""
    found = [_own(handler) for handler in registry] + [_shared(entry) for entry in shared_list.entries()]
    return sorted(found, key=lambda shown: shown.name)


def _find(name: str) -> Shown:
    if name not in registry and name in shared_list:
        return _shared(shared_list.entry(name))
    return _own(registry.get(name))


def _obstacle(name: str) -> str | None:
    """Why a handler cannot be compiled for the kernel."""
    try:
        code_of(registry.get(name))
    except FastpathError as exc:
        return str(exc)
    return None


def _in_kernel(obstacle: str | None) -> str:
    text = "yes" if obstacle is None else f"no: {obstacle}"
    return "".join(f"{escape(line)}\n" for line in f"in_kernel: {text}".splitlines())


def _own(handler: type[Handler]) -> Shown:
    return Shown(handler.name, BUILT_IN, describe(handler), declared(handler))


def _shared(entry: Entry) -> Shown:
    record = entry.record
    n_since_load = entry.stats()["attachments_since_load"]
    return Shown(entry.name, record.source, entry.texts, record.declared, entry.count(), n_since_load)


def _lines(text: str) -> str:
    return escape(text.removesuffix("\n")) + "\n"


def _print_table(handlers: list[Shown]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "source", "flags", "in use", "description", box=None, pad_edge=False, header_style="bold")
    for shown in handlers:
        in_use = "-" if shown.n_attached is None else str(shown.n_attached)
        row = (shown.name, shown.source, shown.texts["flags"].strip() or "-", in_use, shown.texts["desc"].rstrip("\n"))
        table.add_row(*(Text(escape(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or pipe has no width to wrap at
        console.width = 1000
    console.print(table)
