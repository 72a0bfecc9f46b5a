"""How a command ends: exit codes, and the one sentence that says why."""

import sys
from enum import IntEnum

from fanotify_fastpath.cli.text import printable
from fanotify_fastpath.errors import FastpathError, InvalidArgument, NotPermitted, UnsupportedFeature


class Exit(IntEnum):
    """Exit codes, as documented in ``fanfp --help``."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    NOT_PERMITTED = 3
    NOT_SUPPORTED = 4
    TIMEOUT = 5


EXIT_HELP = """\
exit codes:
  0  done, interrupted (SIGINT, SIGTERM, reader gone), or --count reached
  1  failure: a path that does not exist, nothing left to watch, ...
  2  wrong usage
  3  no permission
  4  not supported here
  5  --timeout passed before --count events came; without --count: before any came
"""


class UsageError(Exception):
    """A command line that cannot be right."""


class ReaderGone(Exception):
    """Whoever read our standard output does so no more."""


class OutputFailed(Exception):
    """Standard output cannot be written to, for another reason than that its reader is gone."""


def exit_code(error: Exception) -> Exit:
    """Choose the exit code for an error."""
    if isinstance(error, (UsageError, InvalidArgument)):
        return Exit.USAGE
    if isinstance(error, UnsupportedFeature):
        return Exit.NOT_SUPPORTED
    if isinstance(error, NotPermitted) or (isinstance(error, PermissionError) and not isinstance(error, FastpathError)):
        return Exit.NOT_PERMITTED
    return Exit.FAILURE


def sentence(error: Exception) -> str:
    """Say what went wrong, in one line."""
    if isinstance(error, OSError) and not isinstance(error, FastpathError):
        where = f" {error.filename!r}" if error.filename else ""
        return f"cannot go on{where}: {error.strerror or error}"
    return printable(str(error) or type(error).__name__)


def say(text: str) -> None:
    """Print one line on standard error; that nobody listens there is no reason to fail."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass
