"""What ends LLVM's process does not end ours."""

import os

import pytest

from fanotify_fastpath._compiler.apart import make_apart
from fanotify_fastpath.errors import InvalidArgument

from .making import make


def test_what_is_made_comes_back() -> None:
    assert make_apart(lambda: b"x" * (1 << 20)) == b"x" * (1 << 20)


def test_an_end_is_an_error_with_what_was_said_last() -> None:
    def fail() -> bytes:
        os.write(2, b"first\nLLVM ERROR: no\n")
        os._exit(1)

    with pytest.raises(InvalidArgument, match=r"a program of this handler: LLVM ERROR: no$"):
        make_apart(fail)


def test_an_exception_is_told() -> None:
    def fail() -> bytes:
        raise LookupError("nothing there")

    with pytest.raises(InvalidArgument, match="nothing there"):
        make_apart(fail)


def test_what_needs_too_much_stack_is_refused() -> None:
    from fanotify_fastpath.compiling import compile_handler, read_frame

    names = "\n".join(f"table_{n} = StateMap(max_entries=2, key_bytes={200 + 10 * n})" for n in range(4))
    body = "if event.name is None:\n    return SEND_TO_USERSPACE\n"
    body += "".join(f"self.table_{n}.add(event.name[:200], 1)\n" for n in range(4)) + "return SKIP_EVENT"
    with pytest.raises(InvalidArgument, match="stack"):
        compile_handler(make(body, members=names), read_frame())
