"""``fanfp watch``."""

import argparse
import os

from fanotify_fastpath.cli.exits import UsageError, say
from fanotify_fastpath.cli.handlerspec import parse_handler
from fanotify_fastpath.cli.output import Output
from fanotify_fastpath.cli.session import make_writer, run_stream, show_paths
from fanotify_fastpath.cli.signals import Stop
from fanotify_fastpath.events import Event
from fanotify_fastpath.group import Group
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import STREAM_EVENTS, Mask, parse_mask

_LAST = int(Mask.ROOT_GONE | Mask.UNMOUNT)


def run(options: argparse.Namespace) -> int:
    """Watch until something ends it; return the exit code."""
    output = Output()
    writer = make_writer(options, output)
    mask = parse_events(options.events)
    handlers = [parse_handler(text) for text in options.handler]
    group = Group(
        engine=options.engine, submounts=options.submounts, include_self=options.include_self, with_tid=options.tid
    )
    with group:
        # First the handlers, then the marks: nothing slips past a handler at the beginning.
        for name, arguments in handlers:
            group.attach(name, **arguments)
        add_marks(group, options, mask)
        with Stop() as stop:
            say(f"watching {show_paths(options.paths)} (engine {group.engine})")
            code = run_stream(options, group, writer, output, stop, lambda events: is_over(group, events))
        if options.stats:
            say(stats(group))
    return code


def parse_events(lists: list[str] | None) -> Mask:
    """
    Read the event types of all ``-e``.

    :raises InvalidArgument: a name is unknown
    :raises UsageError: a name cannot be asked for here
    """
    if not lists:
        return Mask.ALL_CHANGES
    mask = parse_mask(",".join(lists))
    if mask & Mask.ALL_PERM:
        raise UsageError("permission events cannot be watched, only answered; use 'fanfp guard'")
    if mask & STREAM_EVENTS:
        raise UsageError(f"{mask & STREAM_EVENTS!r} comes by itself; leave it out of -e")
    return mask


def add_marks(group: Group, options: argparse.Namespace, mask: Mask) -> None:
    """Mark every path."""
    scope = Scope(options.scope)
    paths = [os.fsencode(path) for path in options.paths]
    if scope is not Scope.SUBTREE:
        if options.exclude:
            raise UsageError(f"--exclude goes with --scope subtree, not {scope.value}")
        flags = Mask.ONDIR | Mask.EVENT_ON_CHILD if scope is Scope.INODE else Mask.ONDIR
        for path in paths:
            group.mark(path, mask | flags, scope=scope)
        return
    mark = group.mark(paths[0], mask | Mask.ONDIR, scope=scope, exclude=[os.fsencode(path) for path in options.exclude])
    for path in paths[1:]:
        group.add_root(path, mark)


def is_over(group: Group, events: list[Event]) -> bool:
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


def stats(group: Group) -> str:
    """The summary in one line."""
    counters = group.counters
    return (
        f"engine {group.engine}, delivered {counters.n_delivered}, skipped in user space {counters.n_skipped}, "
        f"remembered directories {counters.n_remembered}, lost {counters.n_lost}"
    )
