"""Expressions and loops that nobody thought of: refused, or the same as in CPython."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanotify_fastpath.errors import CompileError

from .making import make
from .native import check

WIDTHS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
NUMBERS = st.sampled_from((0, 1, 2, 3, 5, 7, 8, 63, 64, 127, 128, 255, 256, 1 << 31, (1 << 32) - 1))
LARGE = st.one_of(NUMBERS, st.sampled_from(((1 << 63) - 1, 1 << 63, (1 << 64) - 1)), st.integers(0, (1 << 64) - 1))
OPERATORS = st.sampled_from(("+", "-", "*", "&", "|", "^", "//", "%", ">>", "<<"))
COMPARED = st.sampled_from(("<", "<=", "==", "!=", ">", ">="))

EVENTS = st.lists(
    st.fixed_dictionaries(
        {"inode": LARGE, "dir_inode": LARGE, "mask": NUMBERS, "uid": NUMBERS},
        optional={"name": st.binary(max_size=12).filter(lambda name: b"\0" not in name)},
    ),
    min_size=4,
    max_size=8,
)


def numbers() -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(("a", "b", "m", "k", "x", "y")), NUMBERS.map(str))
    return st.recursive(leaves, _larger, max_leaves=6)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(st.sampled_from(WIDTHS), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(WIDTHS), inner, OPERATORS, inner).map(lambda p: f"{p[0]}({p[1]} {p[2]} {p[3]})"),
        st.tuples(inner, OPERATORS, inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, inner, COMPARED, inner).map(lambda p: f"({p[0]} if {p[1]} {p[2]} {p[3]} else 3)"),
        st.tuples(st.sampled_from(("min", "max")), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        st.tuples(st.sampled_from(("-", "~", "abs")), inner).map(lambda p: f"{p[0]}({p[1]})"),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers(), min_size=3, max_size=3), st.lists(COMPARED, min_size=2, max_size=2), EVENTS)
def test_expressions(texts: list[str], compared: list[str], events: list[dict[str, Any]]) -> None:
    body = f"""
    a, b, m, k = event.inode, event.dir_inode, event.mask, event.uid
    if a is None or b is None or k is None:
        return deny()
    x: i64 = i64(a)
    y: u8 = u8(b)
    x = i64({texts[0]})
    if {texts[1]} {compared[0]} x {compared[1]} {texts[2]}:
        return SKIP_EVENT
    return SEND_TO_USERSPACE
    """
    _same(body, events)


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers(), min_size=4, max_size=4), COMPARED, st.integers(0, 6), EVENTS)
def test_loops(texts: list[str], compared: str, turns: int, events: list[dict[str, Any]]) -> None:
    body = f"""
    a, b, m, k = event.inode, event.dir_inode, event.mask, event.uid
    if a is None or b is None or k is None:
        return deny()
    x = 1
    y: i32 = 0
    for n in range({turns}):
        if {texts[0]} {compared} {texts[1]}:
            x = u16({texts[2]} + n)
            continue
        y = i32(y + x)
        if {texts[3]} == n:
            break
    else:
        x = 3
    return SKIP_EVENT if x + y & 1 else SEND_TO_USERSPACE
    """
    _same(body, events)


PARTS = st.tuples(st.integers(-6, 6) | st.just(""), st.integers(-6, 6) | st.just("")).map(lambda p: f"[{p[0]}:{p[1]}]")
SHORT = st.text("ab.\u00ff*?", max_size=3).map(lambda text: repr(text.encode("latin-1")))
TESTS = st.sampled_from(
    ("{} == {}", "{}.startswith({})", "{}.endswith({})", "{1} in {0}", "{} != {}", "fnmatchcase({}, {})", "len({}) > 2")
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(TESTS, PARTS, SHORT), min_size=2, max_size=2),
    st.lists(st.text("ab.\u00ff", max_size=8).map(lambda text: text.encode("latin-1")), min_size=5, max_size=9),
)
def test_bytes(tests: list[tuple[str, str, str]], names: list[bytes]) -> None:
    first, second = (test.format(f"name{part}", constant) for test, part, constant in tests)
    body = f"""
    name = event.name
    if name is None:
        return deny()
    if {first}:
        return SKIP_EVENT
    return deny() if {second} else SEND_TO_USERSPACE
    """
    _same(body, [{"name": name} for name in names])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text("ab*?[]!-\\.", max_size=6).map(str.encode), max_size=5),
    st.lists(st.text("ab]!-\\.[", max_size=6).map(str.encode), min_size=8, max_size=8),
)
def test_globs(globs: list[bytes], names: list[bytes]) -> None:
    body = """
    for glob in self.globs:
        if event.name is not None and fnmatchcase(event.name, glob):
            return SKIP_EVENT
    return SEND_TO_USERSPACE
    """
    members = "globs: Annotated[tuple[bytes, ...], Items(5), Bytes(6)]"
    check(make(body, members=members), *({"name": name} for name in names), globs=tuple(globs))


def _same(body: str, events: list[dict[str, Any]]) -> None:
    try:
        check(make(body), *events)
    except CompileError:
        pass


CONDITIONS = st.recursive(
    st.sampled_from(
        (
            "event.uid is None",
            "event.uid is not None",
            "event.uid",
            "event.uid == 3",
            "event.uid != 3",
            "event.uid in (3, 5)",
            "event.uid in (3, None)",
            "event.uid == event.gid",
            "event.name",
            "event.name == b'a'",
            "x is None",
            "x",
            "x == event.uid",
            "n > 3",
            "None != x",
        )
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"(not {text})"),
    ),
    max_leaves=3,
)
ACTIONS = st.sampled_from(
    (
        "x = event.uid",
        "x = None",
        "x = 4",
        "n += event.uid & 3",
        "n += x & 7",
        "n += len(event.name)",
        "n += event.gid & 1 if event.gid is not None else 2",
        "return SKIP_EVENT",
        "return deny() if n else SKIP_EVENT",
        "assert x",
        "n = u8(n + 1)",
    )
)


def blocks() -> st.SearchStrategy[list[str]]:
    """Lines of statements."""
    one = ACTIONS.map(lambda text: [text])
    return st.recursive(st.lists(one, min_size=1, max_size=2).map(_joined), _nested, max_leaves=6)


def _nested(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    branch = st.tuples(CONDITIONS, inner, inner).map(
        lambda parts: [f"if {parts[0]}:", *_indented(parts[1]), "else:", *_indented(parts[2])]
    )
    loop = inner.map(lambda lines: ["for a in event.ancestors:", *_indented(lines), "    n = u8(n + a)"])
    return st.lists(st.one_of(branch, branch, loop, inner), min_size=1, max_size=3).map(_joined)


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _joined(parts: list[list[str]]) -> list[str]:
    return [line for part in parts for line in part]


@settings(max_examples=60, deadline=None)
@given(blocks(), CONDITIONS)
def test_what_may_be_none(lines: list[str], last: str) -> None:
    body = ["n = 0", "x = event.gid", *lines, f"if {last}:", "    return deny()", "return SEND_TO_USERSPACE"]
    events: list[dict[str, Any]] = [
        {"ancestors": ancestors, **who, **name}
        for ancestors in ((), (1, 9))
        for who in ({}, {"uid": 3, "gid": 4}, {"uid": 0, "gid": 0}, {"uid": 5, "gid": 3})
        for name in ({}, {"name": b"a"}, {"name": b"bcd"})
    ]
    _same("\n".join(body), events)
