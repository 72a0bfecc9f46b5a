"""The command line: options, their help, shell completion. What is done with them is in ``watch``, ``guard``, ..."""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fanotify_fastpath.cli import helptext
from fanotify_fastpath.cli.exits import UsageError

SHELLS = ("bash", "zsh", "tcsh")
#: values that are file names, for the completion
_PATH_DESTS = ("paths", "exclude", "live", "allow_exe", "name")


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


class _PrintCompletion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option: object = None
    ) -> None:
        import shtab

        _mark_paths(parser, shtab.FILE)
        print(shtab.complete(parser, shell=str(values)))
        parser.exit()


def _mark_paths(parser: argparse.ArgumentParser, complete: Any) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                _mark_paths(child, complete)
        elif action.dest in _PATH_DESTS:
            action.complete = complete  # type: ignore[attr-defined]


def number(minimum: int) -> Callable[[str], int]:
    """Make the type of an option that is a whole number of at least *minimum*."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return value

    return convert


def seconds(text: str) -> float:
    """The type of an option that is a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def make_parser() -> Parser:
    """Make the parser of the whole command line."""
    from fanotify_fastpath import __version__

    parser = Parser(prog="fanfp", description=helptext.DESCRIPTION, epilog=helptext.EPILOG)
    parser.add_argument("--version", action="version", version=f"fanfp {__version__}", help="print the version")
    parser.add_argument(
        "--print-completion", choices=SHELLS, action=_PrintCompletion, metavar="SHELL",
        help="print the completion script for bash, zsh or tcsh",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_watch(commands)
    _add_guard(commands)
    _add_handlers(commands)
    _add_doctor(commands)
    _add_ps(commands)
    _add_top(commands)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """
    Read a command line.

    :raises UsageError: it is wrong
    :raises SystemExit: help or version was asked for
    """
    options = make_parser().parse_args(arguments)
    if "" in [*getattr(options, "paths", []), *getattr(options, "exclude", [])]:
        # os.path takes it for the current directory; an unset variable of a script must not.
        raise UsageError("a PATH is empty; write . for the current directory")
    if options.command in ("watch", "guard"):
        _check_output(options)
    return options


def _add_watch(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "watch", help="print what happens below directories", description=helptext.WATCH, epilog=helptext.WATCH_EPILOG
    )
    what = _add_paths(parser, "what is watched")
    what.add_argument(
        "-e", "--events", action="append", metavar="LIST", help="event types, separated by commas (default: changes)"
    )
    _add_exclude(what)
    what.add_argument(
        "--handler",
        action="append",
        default=[],
        metavar="NAME[:k=v,…]",
        help="attach a handler; several work in this order",
    )
    what.add_argument(
        "--scope",
        choices=("subtree", "inode", "mount", "filesystem"),
        default="subtree",
        help="how far a PATH reaches (default: subtree; inode: the directory alone, needs no privilege)",
    )
    what.add_argument(
        "--submounts",
        choices=("follow", "skip"),
        default="follow",
        help="whether what is mounted inside belongs to it (default: follow)",
    )
    what.add_argument("--include-self", action="store_true", help="report fanfp's own accesses too")
    what.add_argument("--tid", action="store_true", help="report threads as well as processes")
    what.add_argument(
        "--no-merge", dest="merge", action="store_false", help="tell equal events every time (engine kernel)"
    )
    what.add_argument(
        "--engine",
        choices=("auto", "kernel", "fanotify", "daemon"),
        default="auto",
        help="which machinery (default: auto, the best that works here)",
    )
    _add_output(parser)


def _add_guard(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "guard", help="forbid operations below directories", description=helptext.GUARD, epilog=helptext.GUARD_EPILOG
    )
    what = _add_paths(parser, "what is forbidden")
    what.add_argument(
        "--deny",
        action="append",
        required=True,
        metavar="LIST",
        help="open, exec, access (reading); with engine kernel create, mkdir, unlink, rmdir, rename, link, symlink, "
        "setattr, truncate too; separated by commas",
    )
    _add_exclude(what)
    what.add_argument(
        "--allow-uid", action="append", default=[], metavar="U", help="a user, by number or name, who may"
    )
    what.add_argument("--allow-exe", action="append", default=[], metavar="P", help="an executable, by path, that may")
    what.add_argument(
        "--on-timeout",
        choices=("allow", "deny"),
        default="allow",
        help="the answer when no decision was made in time (default: allow)",
    )
    what.add_argument(
        "--engine",
        choices=("auto", "kernel", "fanotify"),
        default="auto",
        help="kernel denies in the kernel, and only counts (default: auto, kernel where fanotify cannot deny it)",
    )
    _add_output(parser)


def _add_paths(parser: Parser, title: str) -> "argparse._ArgumentGroup":
    """What it is about; returns the group for the options that say more of that."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="directory (with all that is below it) or file")
    return parser.add_argument_group(title)


def _add_exclude(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATH",
        help="directory or file below a PATH that does not belong",
    )


def _add_output(parser: Parser) -> None:
    """Options that every command with a stream of events has."""
    group = parser.add_argument_group("how it is printed (default: a line for a person)")
    styles = group.add_mutually_exclusive_group()
    styles.add_argument("--json", action="store_true", help="one JSON object per line")
    styles.add_argument("--csv", action="store_true", help="comma-separated values, with a header line")
    styles.add_argument("--compact", action="store_true", help="as fatrace does: comm(tgid): CW /path")
    styles.add_argument(
        "--format", metavar="TEMPLATE", help="inotifywait's escapes %%w %%f %%e %%T …, and %%{comm}, %%{tgid} …"
    )
    group.add_argument("--timefmt", metavar="FORMAT", help="what %%T in --format is, as strftime(3) has it")
    group.add_argument("--no-newline", action="store_true", help="no newline after --format")
    group.add_argument(
        "-0", "--null", action="store_true", help="end lines with NUL instead of newline, and do not escape names"
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours (default: auto, on a terminal unless NO_COLOR is set)",
    )
    group.add_argument(
        "--batch",
        action="store_true",
        help="print together what happens together: a JSON array, or lines and an empty line",
    )
    group.add_argument(
        "--quiet-ms", type=number(1), metavar="MS", help="a batch ends when nothing came for so long (default: 50)"
    )
    group.add_argument(
        "--max-wait-ms",
        type=number(1),
        metavar="MS",
        help="a batch ends so long after its first event at the latest (default: 1000)",
    )
    ends = parser.add_argument_group("when it ends")
    ends.add_argument("--count", type=number(1), metavar="N", help="after N events")
    ends.add_argument("--timeout", type=seconds, metavar="SECONDS", help="after so long")
    ends.add_argument("--stats", action="store_true", help="print a summary on standard error at the end")


def _add_handlers(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "handlers", help="list handlers, and load more", description=helptext.HANDLERS, epilog=helptext.HANDLERS_EPILOG
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "show", "load", "unload"),
        default="list",
        help="a table of all (the default); one in full; list what a source has for all processes, or delist it",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME|SOURCE",
        help="show: a handler; load: an installed package or a file; unload: a handler, or all of a source",
    )
    parser.add_argument("--force", action="store_true", help="unload: also what is in use; groups that have it keep it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_doctor(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "doctor", help="say what works here, and why not", description=helptext.DOCTOR, epilog=helptext.DOCTOR_EPILOG
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="tell whether this path can be watched")
    parser.add_argument(
        "--live",
        nargs="?",
        const="",
        metavar="DIR",
        help="make a file in DIR (default: a temporary directory) and see whether its event comes",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_ps(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "ps", help="say whom the daemon serves, and with what", description=helptext.PS, epilog=helptext.PS_EPILOG
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_top(commands: "argparse._SubParsersAction[Parser]") -> None:
    parser = commands.add_parser(
        "top",
        help="show whom the daemon serves, the busiest first",
        description=helptext.TOP,
        epilog=helptext.TOP_EPILOG,
    )
    parser.add_argument(
        "--interval", type=seconds, default=2.0, metavar="SECONDS", help="between one time and the next (default: 2)"
    )
    parser.add_argument("--count", type=number(1), metavar="N", help="end after N times")
    parser.add_argument("--json", action="store_true", help="print JSON, one array a line")


def _check_output(options: argparse.Namespace) -> None:
    """Refuse options that only make sense with another one."""
    if options.format is None and (options.timefmt is not None or options.no_newline):
        raise UsageError("--timefmt and --no-newline go with --format; add --format TEMPLATE")
    if options.null and options.no_newline:
        raise UsageError("--null and --no-newline exclude each other; leave one out")
    if not options.batch and (options.quiet_ms is not None or options.max_wait_ms is not None):
        raise UsageError("--quiet-ms and --max-wait-ms go with --batch; add --batch")
