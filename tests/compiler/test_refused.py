"""What cannot be compiled is refused at its place, with a sentence that says what to write instead."""

import linecache
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanotify_fastpath.compiling import compile_handler
from fanotify_fastpath.errors import CompileError, InvalidArgument, UnsupportedFeature
from fanotify_fastpath.handlers import Handler

from .making import from_source, make, source_of

pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")
BEGIN, END = "«»"


@dataclass(frozen=True)
class Refused:
    """
    Something that cannot be compiled: a paragraph of refusals.txt.

    :ivar body: of ``handle``; between the marks stands what the carets are to be under
    :ivar reason: the message
    :ivar members: of the class; the marks may be there
    """

    body: str
    reason: str
    members: str

    @classmethod
    def read(cls, paragraph: str) -> "Refused":
        lines = paragraph.splitlines()
        members = [line.removeprefix("| ") for line in lines if line.startswith("| ")]
        body = [line for line in lines[:-1] if not line.startswith("| ")]
        assert lines[-1].startswith("> ")
        return cls("\n".join(body), lines[-1].removeprefix("> "), "\n".join(members))


REFUSED = [Refused.read(each) for each in Path(__file__).with_name("refusals.txt").read_text().strip().split("\n\n")]


def refusal(handler: type[Handler]) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_handler(handler, b"")
    return caught.value


def test_there_are_many() -> None:
    assert len({case.reason for case in REFUSED}) >= 60


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.body.partition(BEGIN)[2].partition(END)[0])
def test_it_is_refused_at_its_place(case: Refused) -> None:
    marked = source_of(case.body, members=case.members)
    error = refusal(from_source(marked.replace(BEGIN, "").replace(END, "")))
    assert error.reason == case.reason
    for number, line in enumerate(marked.splitlines(), 1):
        if BEGIN in line:
            plain = line.replace(BEGIN, "").replace(END, "")
            begin, end = line.index(BEGIN), line.index(END) - 1
            assert (error.line, error.column, error.excerpt) == (number, begin + 1, plain)
            carets = str(error).splitlines()[-1]
            indent = len(plain) - len(plain.lstrip())
            assert carets == " " * (2 + begin - indent) + "^" * (end - begin)
            return
    assert "def handle" in error.excerpt, "nothing is marked: it is about the end of the function"


def test_the_message_shows_file_line_and_excerpt() -> None:
    error = refusal(make("total = event.inode\nreturn deny(total)"))
    reason = "the error number of deny() must be a constant"
    assert str(error) == f"{error.file}:{error.line}:21: {reason}\n  return deny(total)\n{' ' * 14}^^^^^"
    assert linecache.getline(error.file, error.line) == "        return deny(total)\n"


def test_columns_count_characters() -> None:
    error = refusal(make("return SKIP_EVENT if (b'\\xff', 'ü') == event.exe / 2 else deny()"))
    assert error.excerpt[error.column - 1 :].startswith("event.exe")


def test_the_traceback_has_no_frame_of_the_compiler() -> None:
    with pytest.raises(CompileError) as caught:
        compile_handler(make("return deny(event.mask)"), b"")
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not [file for file in files if "_compiler" in file]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_handler_without_source_is_refused() -> None:
    names: dict[str, object] = {}
    exec("def handle(self, event):\n    return event", names)
    with pytest.raises(InvalidArgument, match="source"):
        compile_handler(type("Made", (Handler,), {"handle": names["handle"]}), b"")


def test_a_handler_that_is_a_lambda_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not defined by def"):
        compile_handler(type("Made", (Handler,), {"handle": lambda self, event: None}), b"")


def test_without_llvmlite_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    with pytest.raises(UnsupportedFeature) as caught:
        compile_handler(make("return SKIP_EVENT"), b"")
    assert str(caught.value) == "compiling handlers needs llvmlite: pip install 'fanotify-fastpath[compile]'"
