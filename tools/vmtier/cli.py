"""The command line: what is asked for, printed and returned."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from . import kernels, several, suite
from .errors import VmError
from .machine import ENDINGS, Machine

CHECKOUT = Path(__file__).resolve().parents[2]
EPILOG = """\
The exit code of "run" is the command's own, or 128 + N if signal N ended it. Others are:
  122  the machine ended before the command did    124  the command took longer than --timeout
  123  the kernel panicked                         125  the machine could not be started

The root filesystem inside is this host's, read-only. /tmp, /var/tmp and /run are fresh, what is written below the
checkout is lost in the end, and --share DIR makes a directory writable. With --systemd, so is what is written below
/etc, /opt, /srv, /usr/local and /var. Kernels are kept in
~/.cache/fanotify-fastpath/kernels, or in $FP_VM_CACHE.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Do what the command line says.

    :return: the exit code
    """
    for number in ENDINGS:
        signal.signal(number, _end)
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except VmError as error:
        print(f"vm: {error}", file=sys.stderr)
        return error.exit_code
    except (OSError, subprocess.SubprocessError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return VmError.exit_code


def _end(number: int, frame: FrameType | None) -> None:
    """Leave every block on the way out, so that nothing is left behind."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="tools/vm", description="Virtual machines with Debian's kernels.", epilog=EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a command, or a shell", epilog=EPILOG, formatter_class=raw)
    run.add_argument("--kernel", default=suite.all_series()[0], metavar="SERIES", help="default: %(default)s")
    run.add_argument("command", nargs="*", metavar="CMD", help="without one: a shell on this terminal")
    run.add_argument("--icount", action="store_true", help="one CPU whose clock is the number of instructions")
    run.add_argument("--systemd", action="store_true", help="start systemd, and the command as a service of it")
    run.add_argument("--env", action="append", default=[], type=_variable, metavar="NAME=VALUE", help="set a variable")
    run.add_argument("--share", action="append", default=[], type=_directory, metavar="DIR", help="writable inside")
    run.add_argument("--console", action="store_true", help="print the kernel's messages in the end")
    run.set_defaults(run=_run)
    test = commands.add_parser("test", help="run tests, each kernel booted once, all at the same time")
    test.add_argument("--kernel", action="append", metavar="SERIES", help=f"default: {' '.join(suite.all_series())}")
    test.add_argument("--results", type=Path, default=CHECKOUT / "build" / "vm", metavar="DIR", help="for JUnit files")
    test.add_argument("--long", action="store_true", help="instead of the usual tests those that take minutes each")
    test.add_argument("arguments", nargs="*", metavar="ARG", help="for pytest, instead of the usual tests")
    test.set_defaults(run=_test)
    for command, timeout_s in ((run, 1800), (test, 3600)):
        command.add_argument("--cpus", type=int, default=2, metavar="N", help="default: %(default)s; of all machines")
        command.add_argument("--memory", type=int, default=2048, metavar="MIB", help="default: %(default)s")
        command.add_argument(
            "--timeout",
            type=float,
            default=timeout_s,
            metavar="S",
            help="for the command; 0: none; default: %(default)s",
        )
    fetch = commands.add_parser("fetch", help="fetch the newest kernels of Debian's sources")
    fetch.add_argument("--kernel", action="append", metavar="SERIES", help=f"default: {' '.join(suite.all_series())}")
    fetch.set_defaults(run=_fetch)
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"not NAME=VALUE: {text}")
    return name, value


def _directory(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"no directory: {text}")
    return path


def _run(options: argparse.Namespace) -> int:
    is_terminal = not options.command
    if is_terminal and not (os.isatty(0) and os.isatty(1)):
        raise VmError("a shell needs a terminal; give a command: tools/vm run -- CMD")
    environment = dict(options.env)
    if is_terminal:
        environment = {"TERM": os.environ.get("TERM", "vt100"), **environment}
    machine = Machine(
        kernels.get(options.kernel),
        CHECKOUT,
        n_cpus=options.cpus,
        memory_mib=options.memory,
        is_counting=options.icount,
        has_systemd=options.systemd,
        timeout_s=None if is_terminal else options.timeout or None,
        shares=options.share,
        environment={"FP_VM_KERNEL": options.kernel, **environment},
        prints_console=options.console,
    )
    return machine.run(options.command, sys.stdout.buffer, sys.stderr.buffer)


def _test(options: argparse.Namespace) -> int:
    chosen = options.kernel or suite.all_series()
    found = {series: kernels.get(series) for series in chosen}
    if len(chosen) > 1:
        return several.run_all({series: _alone(options, series, len(chosen)) for series in chosen})
    (series,) = chosen
    machine = Machine(
        found[series],
        CHECKOUT,
        n_cpus=options.cpus,
        memory_mib=options.memory,
        timeout_s=options.timeout or None,
    )
    report = suite.run(series, machine, options.arguments, options.results, is_long=options.long)
    print(report.line)
    return report.exit_code


def _alone(options: argparse.Namespace, series: str, n_machines: int) -> list[str]:
    """The command line that does the same on one kernel, with its share of the processors."""
    command = [sys.executable, str(CHECKOUT / "tools" / "vm"), "test", "--kernel", series]
    command += ["--cpus", str(max(1, options.cpus // n_machines)), "--memory", str(options.memory)]
    command += ["--timeout", str(options.timeout), "--results", str(options.results)]
    return [*command, *(["--long"] if options.long else []), "--", *options.arguments]


def _fetch(options: argparse.Namespace) -> int:
    for series in options.kernel or suite.all_series():
        kernel = kernels.fetch(series)
        print(f"{series}: {kernel.version} ({kernel.release})")
    return 0
