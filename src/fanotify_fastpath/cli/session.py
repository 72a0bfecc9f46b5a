"""What ``watch`` and ``guard`` have in common: options to a format, events through it, an ending to an exit code."""

import argparse
import os
from collections.abc import Iterable

from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath.cli.exits import Exit, say
from fanotify_fastpath.cli.formats import CompactFormat, CsvFormat, Format, JsonFormat, Writer
from fanotify_fastpath.cli.output import Output
from fanotify_fastpath.cli.signals import Stop
from fanotify_fastpath.cli.stream import Ending, Limits, Stream
from fanotify_fastpath.cli.text import escape
from fanotify_fastpath.events import Event
from fanotify_fastpath.group import Group
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask

_LAST = int(Mask.ROOT_GONE | Mask.UNMOUNT)


def run_group(options: argparse.Namespace, group: Group, writer: Writer, output: Output, greeting: str) -> int:
    """
    Print a group's events until something ends it.

    :param greeting: what is said when it begins
    :return: the exit code
    """
    with Stop() as stop:
        say(greeting)
        code = _run_stream(options, group, writer, output, stop)
    if options.stats:
        say(_stats(group))
    return code


def _run_stream(options: argparse.Namespace, group: Group, writer: Writer, output: Output, stop: Stop) -> int:
    stream = Stream(
        group,
        lambda events: output.write(writer.render(events)),
        limits(options),
        stop,
        is_over=lambda events: _is_over(group, events),
        output_fd=output.fd,
    )
    ending = stream.run()
    if stream.was_cut:
        say("fanfp: ended while more events were waiting; the output is incomplete at its end")
    if ending is Ending.NOTHING_LEFT:
        say(f"fanfp: nothing is left to {options.command}: every path is gone; start again when one is back")
        return Exit.FAILURE
    if ending is Ending.TIMEOUT and (options.count is not None or not stream.n_events):
        missed = "no event came" if not stream.n_events else f"only {stream.n_events} of {options.count} events came"
        say(f"fanfp: {missed} within {options.timeout:g} s; allow more time with --timeout")
        return Exit.TIMEOUT
    return Exit.DONE


def _is_over(group: Group, events: list[Event]) -> bool:
    """Tell whether nothing is left to watch."""
    for event in events:
        if int(event.mask) & _LAST:
            return not group.roots and not any(_is_there(mark) for mark in group.marks)
    return False


def _is_there(mark: Mark) -> bool:
    """Tell whether what was marked by itself (not as a subtree) can still be found where it was."""
    if mark.scope is Scope.SUBTREE:
        return False
    try:
        return os.stat(mark.root.path).st_dev == mark.root.dev
    except OSError:
        return False


def _stats(group: Group) -> str:
    """The summary in one line."""
    counters = group.counters
    return (
        f"engine {group.engine}, delivered {counters.n_delivered}, skipped in user space {counters.n_skipped}, "
        f"remembered directories {counters.n_remembered}, lost {counters.n_lost}"
        f"{_denied(counters)}"
    )


def _denied(counters: Counters) -> str:
    """What was denied in the kernel, where anything was."""
    if not counters.n_denied and not counters.n_undecided:
        return ""
    return f", denied in the kernel {counters.n_denied}, undecided {counters.n_undecided}"


def limits(options: argparse.Namespace) -> Limits:
    """What ends a stream, and a batch, by the options."""
    quiet_ms = options.quiet_ms or 50
    return Limits(
        count=options.count,
        timeout_s=options.timeout,
        quiet_s=quiet_ms / 1000 if options.batch else None,
        max_wait_s=(options.max_wait_ms or 1000) / 1000,
        # What a guard denied is on its way through two processes.
        settle_s=0.1 if options.command == "guard" else 0.0,
    )


def make_writer(options: argparse.Namespace, output: Output) -> Writer:
    """
    Choose the format by the options.

    :raises UsageError: the template is wrong
    """
    end = "\0" if options.null else "" if options.no_newline else "\n"
    return Writer(_make_format(options, output), end, is_batched=options.batch)


def _make_format(options: argparse.Namespace, output: Output) -> Format:
    if options.json:
        return JsonFormat()
    if options.csv:
        return CsvFormat()
    if options.compact:
        return CompactFormat(raw=options.null)
    if options.format is not None:
        from fanotify_fastpath.cli.template import TemplateFormat

        return TemplateFormat(options.format, options.timefmt)
    from fanotify_fastpath.cli.human import HumanFormat

    return HumanFormat(colour=wants_colour(options.color, output.is_terminal), raw=options.null)


def wants_colour(choice: str, is_terminal: bool) -> bool:
    """Tell whether to use colours; see https://no-color.org."""
    if choice != "auto":
        return choice == "always"
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_paths(paths: Iterable[str]) -> str:
    """Paths for the line that says that it begins."""
    return " ".join(escape(os.path.abspath(path)) for path in paths)
