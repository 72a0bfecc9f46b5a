"""The syntax tree of a function, with the lines and columns of its file."""

import ast
import inspect
import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType

from fanotify_fastpath.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Source:
    """
    A function as it is written.

    :ivar file: name of its file
    :ivar lines: of the whole file
    :ivar tree: the definition
    """

    file: str
    lines: Sequence[str]
    tree: ast.FunctionDef


def find_source(function: FunctionType) -> Source:
    """
    Find the definition of a function.

    :raises InvalidArgument: its text is not to be had, or it is no ``def``
    """
    file = inspect.getsourcefile(function) or function.__code__.co_filename
    linecache.checkcache(file)
    lines = linecache.getlines(file, function.__globals__)
    if not lines:
        raise InvalidArgument(f"cannot compile {function.__qualname__}: the source of {file!r} is not there")
    tree = _definitions(file, "".join(lines)).get(function.__code__.co_firstlineno)
    if tree is None or tree.name != function.__name__:
        raise InvalidArgument(f"cannot compile {function.__qualname__}: it is not defined by def in {file!r}")
    return Source(file, lines, tree)


@lru_cache(maxsize=32)
def _definitions(file: str, text: str) -> dict[int, ast.FunctionDef]:
    """All functions of a file, by the first line of their code: that of the first decorator."""
    found = [node for node in ast.walk(ast.parse(text, file)) if isinstance(node, ast.FunctionDef)]
    return {min([node.lineno, *(each.lineno for each in node.decorator_list)]): node for node in found}
