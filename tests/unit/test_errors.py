"""Errors that go from one process to another."""

import pickle

import pytest

from fanotify_fastpath.errors import (
    CompileError,
    FastpathError,
    KernelRefused,
    NotPermitted,
    PathNotFound,
    VerifierError,
)


@pytest.mark.parametrize(
    "error",
    [
        NotPermitted("you may not"),
        KernelRefused("cannot watch '/x': too many links", 31, "/x"),
        PathNotFound("nothing there", path=b"/\xff"),
        CompileError("f.py", 1, 2, "abc", "why"),
        VerifierError("program", "line\nprocessed 3 insns", 13),
    ],
)
def test_an_error_that_was_pickled_says_the_same(error: FastpathError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, OSError)
    assert isinstance(error, OSError)
    assert (str(again), again.errno, again.filename, again.args) == (
        str(error),
        error.errno,
        error.filename,
        error.args,
    )
    assert vars(again) == vars(error)
