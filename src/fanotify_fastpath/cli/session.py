"""What ``watch`` and ``guard`` have in common: options to a format, events through it, an ending to an exit code."""

import argparse
import os
from collections.abc import Callable, Iterable

from fanotify_fastpath.cli.exits import Exit, say
from fanotify_fastpath.cli.formats import CompactFormat, CsvFormat, Format, JsonFormat, Writer
from fanotify_fastpath.cli.output import Output
from fanotify_fastpath.cli.signals import Stop
from fanotify_fastpath.cli.stream import Ending, Limits, Source, Stream
from fanotify_fastpath.cli.text import escape
from fanotify_fastpath.events import Event


def run_stream(
    options: argparse.Namespace,
    source: Source,
    writer: Writer,
    output: Output,
    stop: Stop,
    is_over: Callable[[list[Event]], bool],
) -> int:
    """
    Print events until something ends it.

    :param is_over: tells whether nothing more will come
    :return: the exit code
    """
    stream = Stream(
        source,
        lambda events: output.write(writer.render(events)),
        limits(options),
        stop,
        is_over=is_over,
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
