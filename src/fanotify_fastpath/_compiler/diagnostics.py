"""What is refused, and where: from a node of the syntax tree to the error that people see."""

import ast
from collections.abc import Sequence

from fanotify_fastpath.errors import CompileError


class Refusal(Exception):
    """
    Something that cannot be compiled.

    :ivar node: where
    :ivar reason: why, and what to write instead
    :ivar file: name of the file, once it is known
    :ivar lines: its text
    """

    def __init__(self, node: ast.AST, reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason
        self.file = ""
        self.lines: Sequence[str] = ()

    def locate(self, file: str, lines: Sequence[str]) -> None:
        """Say which file the node is of, unless an inner function did."""
        if not self.file:
            self.file, self.lines = file, lines

    def error(self) -> CompileError:
        """What people see."""
        line = getattr(self.node, "lineno", 1)
        begin = getattr(self.node, "col_offset", 0)
        text = self.lines[line - 1].rstrip("\n") if line <= len(self.lines) else ""
        is_one_line = getattr(self.node, "end_lineno", line) == line
        end = getattr(self.node, "end_col_offset", None) if is_one_line else None
        # the syntax tree counts bytes
        raw = text.encode()
        column = len(raw[:begin].decode(errors="replace"))
        n_carets = len(raw[begin:end].decode(errors="replace").rstrip())
        return CompileError(self.file, line, column + 1, text, self.reason, max(1, n_carets))
