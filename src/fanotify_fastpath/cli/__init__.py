"""``fanfp``: the command line. Parsing and printing only; see ``fanfp --help``."""

import sys
from collections.abc import Sequence

from fanotify_fastpath.cli.exits import Exit, ReaderGone, exit_code, say, sentence
from fanotify_fastpath.cli.output import flush_or_mute, mute
from fanotify_fastpath.cli.parser import parse
from fanotify_fastpath.cli.signals import Interrupted, Interruptible

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    :param argv: arguments without the program's name; ``sys.argv`` by default
    :return: the exit code; see :class:`~fanotify_fastpath.cli.exits.Exit`
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        with Interruptible(is_program=argv is None):
            code = _run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except (Interrupted, KeyboardInterrupt):
        return Exit.DONE
    except (BrokenPipeError, ReaderGone):
        mute()
        return Exit.DONE
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except Exception as exc:
        say(f"fanfp: {sentence(exc)}")
        flush_or_mute()
        return exit_code(exc)


def _run(arguments: list[str]) -> int:
    options = parse(arguments)
    # Each command's imports wait until it is used: a watch begins the sooner.
    if options.command == "watch":
        from fanotify_fastpath.cli import watch

        return watch.run(options)
    if options.command == "guard":
        from fanotify_fastpath.cli import guard

        return guard.run(options)
    if options.command == "handlers":
        from fanotify_fastpath.cli import handlers

        return handlers.run(options)
    if options.command == "ps":
        from fanotify_fastpath.cli import ps

        return ps.run(options)
    if options.command == "top":
        from fanotify_fastpath.cli import top

        return top.run(options)
    from fanotify_fastpath.cli import doctor

    return doctor.run(options)
