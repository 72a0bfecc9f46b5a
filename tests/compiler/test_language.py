"""What is compiled says what CPython says, on every event tried."""

from typing import Any

import pytest

from .making import make
from .native import check
from .samples import BODIES, EVENTS, NUMERIC, TEXTS, TEXTUAL, M, numeric, numeric_events, textual, textual_events


@pytest.mark.parametrize("text", NUMERIC.values(), ids=NUMERIC)
def test_numbers(text: str) -> None:
    said = check(numeric(text), *numeric_events())
    assert len(set(said)) > 1, "says always the same: a weak test"


@pytest.mark.parametrize("text", TEXTUAL.values(), ids=TEXTUAL)
def test_bytes(text: str) -> None:
    said = check(textual(text), {}, *textual_events())
    assert len(set(said[1:])) > 1, "says always the same: a weak test"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_statements(body: str) -> None:
    said = check(make(body), *EVENTS)
    assert len(set(said)) > 1, "says always the same: a weak test"


def test_helpers_are_inlined() -> None:
    handler = make(
        """
        if self.ends(event.name, b".tmp"):
            return SKIP_EVENT
        if twice(event.mask) == 6:
            return deny()
        return SEND_TO_USERSPACE if self.LIMIT > triple(n=event.mask) else SKIP_EVENT
        """,
        members="""
            LIMIT = 20

            def ends(self, name, ending=b"c"):
                if name is None:
                    return False
                return name.endswith(ending) or name.endswith(b"bc")
        """,
        globals_="""
            def twice(n):
                return n + n

            def triple(*, n, times=3):
                total = 0
                for _ in range(times):
                    total += n
                return total
        """,
    )
    assert set(check(handler, *EVENTS)) == {-1, 0, 1}


def test_what_a_helper_returns_may_be_none() -> None:
    handler = make(
        """
        found = self.first(event)
        if found is None:
            return deny()
        return SKIP_EVENT if found > 2 else SEND_TO_USERSPACE
        """,
        members="""
            @staticmethod
            def first(event):
                for each in event.ancestors:
                    if each != 1:
                        return each
        """,
    )
    assert set(check(handler, *EVENTS)) == {-1, 0, 1}


def test_attributes_of_every_kind() -> None:
    handler = make(
        """
        if event.name is None or event.inode is None:
            return deny()
        if self.is_on and event.name == self.text:
            return SKIP_EVENT
        if event.name in self.texts or event.inode in self.numbers:
            return deny(errno.EIO)
        for n, number in enumerate(self.sequence):
            if number < 0 and event.inode == n + 5:
                return deny(errno.EBUSY)
        if len(self.texts) > 2 or self.choice == "second" or event.inode in self.sequence:
            return deny(errno.EAGAIN)
        return SKIP_EVENT if event.inode > self.limit + self.small else SEND_TO_USERSPACE
        """,
        members="""
            arguments = (Argument("choice", Choice(("first", "second")), ""),)
            is_on: bool
            small: u8
            limit: i32
            text: Annotated[bytes, Bytes(60)]
            texts: Annotated[tuple[bytes, ...], Items(5), Bytes(10)]
            sequence: Annotated[tuple[i16, ...], Items(5)]
            numbers: Annotated[frozenset[u64], Items(200)]
        """,
    )
    plain: dict[str, Any] = {
        "is_on": True,
        "small": 3,
        "limit": -2,
        "text": b"",
        "texts": (),
        "sequence": (),
        "numbers": frozenset(),
    }
    filled = {**plain, "text": b"abc", "texts": (b"a", b"x.tmp"), "sequence": (-1, 2, -3, 12), "choice": "second"}
    sets = {**plain, "numbers": frozenset({5, 1 << 63, *range(1000, 60_000, 300)}), "is_on": False}
    events = [{"name": name, "inode": inode} for name in TEXTS for inode in (0, 1, 2, 5, 7, 12, 1300, 1301, 1 << 63, M)]
    said = [check(handler, *events, {}, **{"choice": "first", **values}) for values in (plain, filled, sets)]
    assert all(len(set(each)) > 2 for each in said)


def test_state() -> None:
    handler = make(
        """
        self.hits.add(1)
        if event.uid is None or event.name is None:
            self.hits.add(event.mask)
            return SEND_TO_USERSPACE
        n = self.by_uid.add(event.uid, 2)
        if n is None:
            return deny()
        if (event.uid, event.mask) in self.pairs:
            self.pairs.discard((event.uid, event.mask))
            return SKIP_EVENT
        if not self.pairs.put((event.uid, event.mask), n):
            return deny(errno.EIO)
        if self.names.get(event.name, 5) > 6:
            return deny(errno.EBUSY)
        if self.names.get(event.name[:4]) is None:
            self.names.put(event.name[:4], u64(self.hits.value + n))
        return SKIP_EVENT if n > 4 else SEND_TO_USERSPACE
        """,
        members="""
            hits = Counter()
            by_uid = StateMap(max_entries=2)
            pairs = StateMap(max_entries=3, key_words=2)
            names = StateMap(max_entries=10, key_bytes=255)
        """,
    )
    assert set(check(handler, *EVENTS, *EVENTS[::-1])) >= {-1, 0, 1}


def test_the_bytes_of_a_key_may_end_where_all_bytes_end() -> None:
    handler = make(
        """
        if event.comm is None or event.name is None:
            return SEND_TO_USERSPACE
        self.keys.put(event.comm[:9][8:], 1)
        self.keys.put(event.comm[12:] if event.mask & 1 else event.comm, 2)
        return deny() if event.name in self.keys else SKIP_EVENT
        """,
        members="keys = StateMap(max_entries=100, key_bytes=255)",
    )
    comms = [b"", b"a", b"12345678", b"123456789", b"123456789abc", b"123456789abcdef"]
    events = [
        {"mask": mask, "comm": comm, "name": name}
        for mask in (1, 2)
        for comm in comms
        for name in (b"", b"9", b"def", comm, b"x")
    ]
    assert set(check(handler, *events)) == {-1, 0}


def test_what_is_read_of_an_item_may_be_kept() -> None:
    handler = make(
        """
        best = b""
        for each in self.texts:
            if event.name is not None and event.name.startswith(each) and len(each) > len(best):
                best = each
        if event.name == best:
            return deny()
        return SKIP_EVENT if best[1:] == b"b" else SEND_TO_USERSPACE
        """,
        members="texts: Annotated[tuple[bytes, ...], Items(5), Bytes(10)]",
    )
    assert set(check(handler, *({"name": name} for name in TEXTS), {}, texts=(b"a", b"ab", b"12345678"))) == {-1, 0, 1}


def test_items_longer_than_the_name() -> None:
    handler = make(
        """
        for each in self.texts:
            if event.exe is not None and (event.exe.endswith(each) or event.exe.startswith(each) or each == event.exe):
                return SKIP_EVENT
            if event.comm is not None and (event.comm.endswith(each) or each in event.comm):
                return deny()
        return SEND_TO_USERSPACE
        """,
        members="texts: Annotated[tuple[bytes, ...], Items(3), Bytes(255)]",
    )
    events = [{"exe": b"a" * n, "comm": comm} for n in (0, 5, 250, 255) for comm in (b"", b"b", b"abc")]
    assert set(check(handler, *events, texts=(b"a" * 251, b"ab" * 100, b"b" * 3))) == {0, 1}
    assert set(check(handler, *events, texts=(b"b",))) == {-1, 1}


@pytest.mark.parametrize("truth", ["event.name.startswith(each)", "event.name.endswith(each)", "event.name == each"])
def test_an_item_and_the_name_differ_in_any_byte(truth: str) -> None:
    handler = make(
        f"""
        for each in self.texts:
            if event.name is not None and {truth}:
                return SKIP_EVENT
        return SEND_TO_USERSPACE
        """,
        members="texts: Annotated[tuple[bytes, ...], Items(1), Bytes(60)]",
    )
    said = set()
    for length in (*range(1, 26), 56, 57, 60):
        text = bytes(range(65, 65 + length))
        changed = [text[:n] + b"\0" + text[n + 1 :] for n in range(length)]
        names = [text, text[1:], text[:-1], *changed, *(each + b"!" for each in changed), b"!" + text, text + b"!"]
        said |= set(check(handler, *({"name": name} for name in names), texts=(text,)))
    assert said == {0, 1}


def test_beginnings_and_ends_of_a_list() -> None:
    handler = make(
        """
        if event.name is None:
            return deny()
        if event.name.startswith(self.texts) and not event.name[1:].endswith(self.texts):
            return SKIP_EVENT
        return SEND_TO_USERSPACE if b"abc".startswith(self.texts) else deny(errno.EIO)
        """,
        members="texts: Annotated[tuple[bytes, ...], Items(3), Bytes(20)]",
    )
    events = [{"name": name} for name in TEXTS]
    said = [check(handler, *events, {}, texts=texts) for texts in ((), (b"",), (b"a", b"9", b"tmp"), (b"12345678",))]
    assert set(said[0]) == {-1, -5}
    assert set(said[2]) == {-1, 0, 1}
