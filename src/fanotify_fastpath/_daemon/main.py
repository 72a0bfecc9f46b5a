"""``fanfpd``: the daemon's command line. It runs in the foreground; the service manager does the rest."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

import msgspec

from fanotify_fastpath._daemon import logs
from fanotify_fastpath._daemon.config import CONFIG_PATH, Config, load
from fanotify_fastpath._daemon.policy import Policy, socket_gid
from fanotify_fastpath.cli.exits import Exit, UsageError, exit_code, say, sentence
from fanotify_fastpath.cli.parser import Parser

_DESCRIPTION = """\
Serve watches to ordinary users: events of what they could see themselves, without any privilege of theirs. It runs in
the foreground until SIGTERM or SIGINT; SIGHUP has it read its configuration anew.
"""
_EPILOG = """\
exit codes:
  0  stopped by SIGTERM or SIGINT; --check found nothing wrong
  1  failure: another fanfpd serves the socket, ...
  2  wrong usage, or a wrong configuration
  3  no permission: it needs CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH, CAP_SETUID and CAP_SETGID
  4  not supported here
"""


def make_parser() -> Parser:
    """Make the parser of the command line."""
    from fanotify_fastpath import __version__

    parser = Parser(prog="fanfpd", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"fanfpd {__version__}", help="print the version")
    parser.add_argument(
        "--config", metavar="FILE", help=f"the configuration (default: {CONFIG_PATH}, which need not exist)"
    )
    parser.add_argument("--socket", metavar="PATH", help="where to listen, whatever the configuration says")
    parser.add_argument("--check", action="store_true", help="say whether the configuration is right, and end")
    parser.add_argument(
        "--log-level", choices=logs.LEVELS, help="the least that is logged, whatever the configuration says"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the daemon.

    :param argv: arguments without the program's name; ``sys.argv`` by default
    :return: the exit code; see :class:`~fanotify_fastpath.cli.exits.Exit`
    """
    try:
        return _run(_parse(sys.argv[1:] if argv is None else argv))
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except KeyboardInterrupt:
        return Exit.DONE
    except Exception as exc:
        priority = logs.prefix(logging.ERROR) if logs.is_journal(2) else ""
        say(f"{priority}fanfpd: {sentence(exc)}")
        return exit_code(exc)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    options = make_parser().parse_args(arguments)
    if "" in (options.config, options.socket):
        raise UsageError("a path is empty; give one, or leave the option out")
    return options


def _run(options: argparse.Namespace) -> int:
    config = _load(options)
    if options.check:
        print(f"{config.path or 'no configuration: the defaults'} is right")
        return Exit.DONE
    from fanotify_fastpath._daemon.server import serve  # what it imports takes time

    logs.set_up(config.daemon.log_level)
    serve(config, lambda: _load(options))
    return Exit.DONE


def _load(options: argparse.Namespace) -> Config:
    """Read and check the configuration, with what the command line says of it."""
    config = load(options.config)
    changes = {}
    if options.socket is not None:
        changes["socket"] = os.path.abspath(options.socket)
    if options.log_level is not None:
        changes["log_level"] = options.log_level
    config = msgspec.structs.replace(config, daemon=msgspec.structs.replace(config.daemon, **changes))
    Policy(config)
    socket_gid(config)
    return config


if __name__ == "__main__":
    sys.exit(main())
