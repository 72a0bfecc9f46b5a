"""Handlers from a few lines of source."""

import itertools
import linecache
import textwrap

from fanotify_fastpath.handlers import Handler

PREAMBLE = """\
import errno
import stat
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Annotated

from fanotify_fastpath import SEND_TO_USERSPACE, SKIP_EVENT, Mask, deny
from fanotify_fastpath.arguments import Argument, BytesList, Choice, Integer, IntegerSet, Roots
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.state import Counter, StateMap
from fanotify_fastpath.widths import Bytes, Items, i8, i16, i32, i64, u8, u16, u32, u64

"""
_numbers = itertools.count()


def make(body: str, *, members: str = "", globals_: str = "") -> type[Handler]:
    """
    Make a handler.

    :param body: of ``handle(self, event)``
    :param members: of the class, before it
    :param globals_: of the module, before the class
    """
    return from_source(source_of(body, members=members, globals_=globals_))


def source_of(body: str, *, members: str = "", globals_: str = "") -> str:
    """The source that :func:`make` makes."""
    parts = [
        PREAMBLE,
        textwrap.dedent(globals_).strip("\n"),
        "\n\nclass Made(Handler):\n",
        textwrap.indent(textwrap.dedent(members).strip("\n"), "    "),
        "\n    def handle(self, event):\n",
        textwrap.indent(textwrap.dedent(body).strip("\n"), " " * 8),
        "\n",
    ]
    return "".join(parts)


def from_source(source: str) -> type[Handler]:
    """The class ``Made`` of a module that has no file."""
    name = f"<made {next(_numbers)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    names = {"__name__": "made"}
    exec(compile(source, name, "exec"), names)
    made: object = names["Made"]
    assert isinstance(made, type) and issubclass(made, Handler)  # noqa: PT018
    return made
