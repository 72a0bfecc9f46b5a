"""What an instance has is what was declared, or is refused with its name."""

from typing import Any

import pytest

from fanotify_fastpath._compiler.globs import tabulate
from fanotify_fastpath.compiling import CompiledHandler, compile_handler, read_frame
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.handlers import Handler

from .making import make

MEMBERS = """
    LIMIT = 5
    is_on: bool
    small: u8
    text: Annotated[bytes, Bytes(4)]
    texts: Annotated[tuple[bytes, ...], Items(2), Bytes(4)]
    numbers: Annotated[frozenset[int], Items(3)]
    sequence: Annotated[tuple[u8, ...], Items(2)]
"""
BODY = """
    if self.is_on and self.small < self.LIMIT and event.name == self.text:
        return SKIP_EVENT
    for each in self.texts:
        if event.name is not None and fnmatchcase(event.name, each):
            return deny()
    if event.mask in self.numbers or event.mask in self.sequence:
        return deny()
    return SEND_TO_USERSPACE
"""
RIGHT: dict[str, Any] = {
    "is_on": True,
    "small": 255,
    "text": b"1234",
    "texts": (b"", b"1234"),
    "numbers": frozenset({1, -5}),
    "sequence": (0, 255),
}


@pytest.fixture(scope="module")
def compiled() -> CompiledHandler:
    try:
        return compile_handler(make(BODY, members=MEMBERS), read_frame())
    except FileNotFoundError:
        pytest.skip("installed without the programs for the kernel")


def packed(compiled: CompiledHandler, **changed: Any) -> bytes:
    instance: Handler = compiled.handler()
    vars(instance).update({**RIGHT, **changed})
    return compiled.pack(instance, lambda roots: None)


def test_what_is_right_is_packed(compiled: CompiledHandler) -> None:
    assert len(packed(compiled)) == compiled.compiled.attributes_size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_on", 1),
        ("small", 256),
        ("small", -1),
        ("small", "1"),
        ("text", b"12345"),
        ("text", "1234"),
        ("texts", (b"1", b"2", b"3")),
        ("texts", (b"12345",)),
        ("texts", ("1",)),
        ("texts", None),
        ("numbers", {1, 2, 3, 4}),
        ("numbers", {1 << 63}),
        ("sequence", (1, 256)),
    ],
)
def test_what_is_not_right_is_refused(compiled: CompiledHandler, name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=f"attribute '{name}' is "):
        packed(compiled, **{name: value})


def test_a_number_that_stands_for_nothing_is_refused(compiled: CompiledHandler) -> None:
    with pytest.raises(InvalidArgument, match="a set cannot have -1"):
        packed(compiled, numbers={-1})


def test_an_attribute_that_init_forgot_is_named(compiled: CompiledHandler) -> None:
    instance = compiled.handler()
    with pytest.raises(InvalidArgument, match="attribute 'is_on' has no value after init"):
        compiled.pack(instance, lambda roots: None)


def test_a_constant_of_the_class_may_not_be_changed(compiled: CompiledHandler) -> None:
    with pytest.raises(InvalidArgument, match="attribute 'LIMIT' was compiled with the value of the class"):
        packed(compiled, LIMIT=6)


def test_globs_have_63_tokens_at_most() -> None:
    assert tabulate(b"*a" * 63).matches(b"a" * 63)
    with pytest.raises(InvalidArgument, match="64 characters"):
        tabulate(b"a" * 64)


def test_what_llvm_cannot_do_ends_no_process() -> None:
    keys = "\n".join(f"t{n} = StateMap(key_bytes={200 + 8 * n})" for n in range(5))
    uses = "\n".join(f"    self.t{n}.put(event.comm, {n})" for n in range(5))
    handler = make(f"if event.comm is not None:\n{uses}\nreturn SKIP_EVENT", members=keys)
    try:
        frame = read_frame()
    except FileNotFoundError:
        pytest.skip("installed without the programs for the kernel")
    with pytest.raises(InvalidArgument, match=r"LLVM cannot make a program of this handler: .*stack limit"):
        compile_handler(handler, frame)
