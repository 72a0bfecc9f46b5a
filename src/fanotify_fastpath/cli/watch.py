"""``fanfp watch``."""

import argparse
import os

from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.handlerspec import parse_handler
from fanotify_fastpath.cli.output import Output
from fanotify_fastpath.cli.session import make_writer, run_group, show_paths
from fanotify_fastpath.group import Group
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.mask import STREAM_EVENTS, Mask, parse_mask


def run(options: argparse.Namespace) -> int:
    """Watch until something ends it; return the exit code."""
    output = Output()
    writer = make_writer(options, output)
    mask = parse_events(options.events)
    handlers = [parse_handler(text) for text in options.handler]
    group = Group(
        engine=options.engine,
        submounts=options.submounts,
        include_self=options.include_self,
        with_tid=options.tid,
        merge=options.merge,
    )
    with group:
        # First the handlers, then the marks: nothing slips past a handler at the beginning.
        for name, arguments in handlers:
            group.attach(name, **arguments)
        add_marks(group, options, mask)
        greeting = f"watching {show_paths(options.paths)} (engine {group.engine})"
        return run_group(options, group, writer, output, greeting)


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
