"""Compiled handlers in the kernel: the verifier accepts them, and they say what Python says."""

import contextlib
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from compiler.making import make
from compiler.native import by_python, event_bytes, python_event
from compiler.samples import BODIES, EVENTS, NUMERIC, TEXTS, TEXTUAL, numeric, numeric_events, textual, textual_events
from fanotify_fastpath.builtin import AllowDenyList, IgnorePrefix, MonitorSubtree
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.mask import Mask

from .running import Runner, start

Events = list[dict[str, Any]]
NAMES: Events = [*({"name": name} for name in TEXTS), {}]


@contextlib.contextmanager
def loaded(kind: type[Handler], attributes: dict[str, Any]) -> Iterator[Runner]:
    instance = kind()
    vars(instance).update(attributes)
    with start(kind, instance) as handler:
        print(kind.name, handler.program.info().n_verified_insns, "instructions verified")
        yield handler


def check(kind: type[Handler], events: Events, inside: dict[int, bool] | None = None, **attributes: Any) -> set[int]:
    interpreted = kind()
    for name, value in attributes.items():
        setattr(interpreted, name, value)
    said = set()
    with loaded(kind, attributes) as handler:
        for fields in events:
            found = handler.run(event_bytes(inside, **fields))
            assert found == by_python(interpreted, python_event(inside, **fields)), fields
            said.add(found)
    return said


PREFIXES = [
    (b"a",),
    (b"12345678",),
    (*(bytes([n]) * 60 for n in range(1, 60)), b"ab"),
    (*(b"1234567890" * 4 + b"%d" % n for n in range(59)), b"ab"),
]


@pytest.mark.parametrize("prefixes", PREFIXES, ids=["short", "a word", "long", "alike"])
def test_ignore_prefix(prefixes: tuple[bytes, ...]) -> None:
    assert check(IgnorePrefix, NAMES, prefixes=prefixes) == {0, 1}


@pytest.mark.parametrize("allow", [False, True])
def test_allow_deny_list_with_all_its_lists_full(allow: bool) -> None:
    lists: dict[str, Any] = {
        "names": (*tuple(b"core%d" % n * 10 for n in range(9)), b"abc"),
        "suffixes": tuple(b".tm%d" % n for n in range(16)),
        "globs": (b"*.[st]mp", *(b"*.[ch]%d*" % n * 7 for n in range(9))),
        "uids": frozenset(range(1000, 1032)),
        "executables": (*tuple(b"/usr/bin/" + b"%d" % n * 240 for n in range(5)), b"/bin/sh"),
    }
    who: Events = [{}, {"uid": 1001, "exe": b"/bin/sh"}, {"uid": 34, "exe": b"/bin/shx"}]
    events = [{**one, **each, "mask": mask} for one in NAMES for each in who for mask in (1, int(Mask.OPEN_PERM))]
    assert len(check(AllowDenyList, events, allow=allow, needs_name=True, **lists)) > 1


@pytest.mark.parametrize("slot", [3, 200, None])
def test_monitor_subtree(slot: int | None) -> None:
    for inside in (None, {3: True}, {200: True}):
        for block in (False, True):
            check(MonitorSubtree, [{"mask": 1}], inside, roots=SimpleNamespace(slot=slot), block=block)


@pytest.mark.parametrize("text", NUMERIC.values(), ids=NUMERIC)
def test_numbers(text: str) -> None:
    check(numeric(text), numeric_events())


@pytest.mark.parametrize("text", TEXTUAL.values(), ids=TEXTUAL)
def test_bytes(text: str) -> None:
    check(textual(text), textual_events())


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_statements(body: str) -> None:
    check(make(body), EVENTS[::3])


SEARCHES = {
    "items in bytes": """
        for each in self.texts:
            if event.name is not None and each in event.name:
                return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "ends and equality": """
        for each in self.texts:
            if event.name == each or event.exe is not None and event.exe.endswith(each):
                return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "members": """
        if event.name in self.texts or event.exe in self.texts or event.comm in self.texts:
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "beginnings and ends": """
        if event.name is None or event.exe is None:
            return deny()
        if event.name.startswith(self.texts) or event.exe[2:].endswith(self.texts):
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "a part of an item that may be short": """
        for each in self.texts:
            if event.name is not None and each[30:].startswith(event.name):
                return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "constants in bytes": """
        if event.name is None or event.exe is None:
            return deny()
        if b"AA" in event.name or b"BBBBBBBBB" in event.exe or b"C" in event.name or b"BBA" in event.exe[3:]:
            return SKIP_EVENT
        return deny() if event.name == event.exe or event.exe.endswith(event.name) else SEND_TO_USERSPACE
    """,
    "bytes gone through": """
        n = 0
        digest: u32 = 7
        if event.name is None or event.exe is None:
            return deny()
        for byte in event.name:
            if byte == 65:
                n += 1
        for byte in event.exe:
            digest = u32(digest * 31 + byte)
        return SKIP_EVENT if n > 3 or digest & 1 else SEND_TO_USERSPACE
    """,
}


@pytest.mark.parametrize("body", SEARCHES.values(), ids=SEARCHES)
def test_long_lists_and_long_names(body: str) -> None:
    kind = make(body, members="texts: Annotated[tuple[bytes, ...], Items(60), Bytes(60)]")
    texts = [bytes([65 + n % 50]) * n for n in range(1, 60)]
    ends = [text + end for text in texts[20::9] for end in (b"", b"!")]
    long = [b"x" * 255, b"\xff" * 200 + b"BBB" * 18 + b"A", b"x" * 90 + texts[30]]
    names = [b"", b"x", b"A", b"CC", *long, *ends]
    events: Events = [{}, *({"name": a, "exe": b, "comm": a[:15]} for a in names for b in names)]
    assert len(check(kind, events, texts=tuple(texts[1:]))) > 1


def test_state_is_kept_from_event_to_event() -> None:
    kind = make(
        """
        self.hits.add(2)
        if event.uid is None or event.name is None:
            return SEND_TO_USERSPACE
        if self.by_uid.add(event.uid, 1) is None or not self.names.put((event.name), event.uid):
            return deny()
        return SKIP_EVENT if self.by_uid.get(event.uid, 0) > 2 else SEND_TO_USERSPACE
        """,
        members="""
            hits = Counter()
            by_uid = StateMap(max_entries=2)
            names = StateMap(max_entries=10, key_bytes=255, evict=True)
        """,
    )
    with loaded(kind, {}) as handler:
        said = [handler.run(event_bytes(None, name=b"n%d" % uid, uid=uid)) for uid in (5, 5, 5, 6, 7, 6)]
        assert said == [1, 1, 0, 1, -1, 1]
        with handler.state("hits") as hits, handler.state("by_uid") as by_uid, handler.state("names") as names:
            assert hits.lookup(bytes(4)) == struct.pack("=Q", 12)
            assert by_uid.lookup(struct.pack("=Q", 6)) == struct.pack("=Q", 2)
            assert names.lookup(struct.pack("=Q256s", 2, b"n6")) == struct.pack("=Q", 6)


@pytest.mark.parametrize("truth", ["(uid in self.seen) | self.flag", "(self.seen.get(uid) is None) | (self.n == 0)"])
def test_whether_a_key_is_there_may_be_calculated_with(truth: str) -> None:
    """LLVM makes one comparison of two with nothing, if it sees both; with a pointer the verifier refuses that."""
    body = f"""
        uid = event.uid
        if uid is None:
            return deny()
        found = {truth}
        self.seen.put(uid, 1)
        return SKIP_EVENT if found else SEND_TO_USERSPACE
    """
    kind = make(body, members="flag: bool\nn: u64\nseen = StateMap(max_entries=10)")
    with loaded(kind, {"flag": False, "n": 7}) as handler:
        said = [handler.run(event_bytes(None, uid=uid)) for uid in (5, 5, 6, 5)]
    assert said == ([1, 0, 1, 0] if "in self.seen" in truth else [0, 1, 0, 1])
