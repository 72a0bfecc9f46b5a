"""``fanfp doctor``: what works here, and why not."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from fanotify_fastpath.cli.exits import Exit, say
from fanotify_fastpath.cli.text import escape
from fanotify_fastpath.doctor import Check, EngineReport, LiveReport, PathReport, Report, diagnose

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN = {True: "yes", False: "no", None: "?"}
_YES_NO = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]?[/]"}


def run(options: argparse.Namespace) -> int:
    """Diagnose and print; return the exit code."""
    live: bool | str = options.live is not None if not options.live else options.live
    report = diagnose(options.paths or None, live)
    if options.json:
        print(json.dumps(asdict(report), indent=2))
    else:
        _print(report)
    if report.live is not None and not report.live.seen:
        say(f"fanfp: the live test in {escape(report.live.directory)} failed: {report.live.reason}")
        return Exit.FAILURE
    return Exit.DONE


def _print(report: Report) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"fanotify-fastpath {report.version}, Linux {report.kernel}, user {report.uid}")
    console.print(f"compiled: {_YES_NO[report.compiled]}")
    console.print("\n[bold]engines[/]")
    for engine in report.engines:
        _print_engine(console, engine, is_chosen=engine.name == report.chosen)
    console.print("\n[bold]capabilities[/]")
    for name, is_held in report.capabilities.items():
        console.print(f"  {name:<22} {_YES_NO[is_held]}")
    console.print("\n[bold]limits[/] (/proc/sys/fs/fanotify)")
    for name, value in report.limits.items():
        console.print(f"  {name:<22} {'not in this kernel' if value is None else value}")
    console.print("\n[bold]handlers loaded for all[/]")
    for check in report.listing:
        _print_check(console, check)
    if report.paths:
        console.print("\n[bold]paths[/]")
    for path in report.paths:
        _print_path(console, path)
    if report.live is not None:
        _print_live(console, report.live)


def _print_engine(console: "Console", engine: EngineReport, *, is_chosen: bool) -> None:
    chosen = " (chosen by auto)" if is_chosen else ""
    console.print(f"  {engine.name:<10} {_YES_NO[engine.available]}{chosen}: ", end="")
    console.print(engine.reason, markup=False)
    for check in engine.checks:
        _print_check(console, check)


def _print_check(console: "Console", check: Check) -> None:
    console.print(f"    {check.name:<30} {_YES_NO[check.ok]}{' ' * (5 - len(_PLAIN[check.ok]))}", end="")
    console.print(check.detail, markup=False)


def _print_path(console: "Console", path: PathReport) -> None:
    console.print(f"  {escape(path.path)}  ", end="", markup=False)
    console.print(f"{_YES_NO[path.can_watch]}  ", end="")
    console.print(f"{path.fs_type} on {escape(path.mountpoint)}: {escape_sentence(path.reason)}", markup=False)
    if path.note:
        console.print(f"    {path.note}", markup=False)


def _print_live(console: "Console", live: LiveReport) -> None:
    console.print("\n[bold]live test[/]")
    console.print(f"  {_YES_NO[live.seen]}  ", end="")
    latency = "" if live.latency_ns is None else f", latency {live.latency_ns / 1e6:.3f} ms"
    console.print(f"{live.reason}{latency} (engine {live.engine}, {escape(live.directory)})", markup=False)


def escape_sentence(text: str) -> str:
    """A sentence that quotes names."""
    from fanotify_fastpath.cli.text import printable

    return printable(text)
