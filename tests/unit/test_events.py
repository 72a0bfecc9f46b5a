"""Events: names, decoding at the edge, and how they read."""

import copy
import dataclasses
import inspect
import os
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import Event, Mask, Process
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.common.candidate import Candidate
from fanotify_fastpath._engines.common.lookup import PathLookup


def test_an_event_has_names_and_says_who_did_it() -> None:
    event = Event(
        Mask.CREATE | Mask.CLOSE_WRITE, b"/srv/f", tgid=12, process=Process(0, "sh", "/bin/sh"), dev=5, inode=6
    )
    assert event.names == ("close_write", "create")
    assert (event.path, event.old_path, event.crossing) == ("/srv/f", None, None)
    assert (event.tgid, event.tid, event.uid, event.comm, event.exe) == (12, None, 0, "sh", "/bin/sh")
    assert (event.dev, event.inode, event.lost, event.undecided, event.is_dir) == (5, 6, 0, False, False)
    assert event.clock == "boottime"


def test_what_is_unknown_is_none() -> None:
    event = Event(Mask.Q_OVERFLOW, None, lost=None)
    assert (event.path, event.raw_path, event.uid, event.comm, event.exe, event.inode, event.lost) == (None,) * 7


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_name_survives_the_edge(name: bytes) -> None:
    event = Event(Mask.RENAME, b"/new/" + name, raw_old_path=b"/old/" + name)
    assert os.fsencode(event.path or "") == b"/new/" + name
    assert os.fsencode(event.old_path or "") == b"/old/" + name


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(Mask.CREATE, b"/f", tgid=3), "<Event create '/f' tgid=3 comm=None>"),
        (Event(Mask.CREATE, b"/d", is_dir=True, undecided=True), "<Event create '/d' dir undecided tgid=0 comm=None>"),
        (
            Event(Mask.RENAME, b"/b", raw_old_path=b"/a", crossing="in"),
            "<Event rename '/b' from '/a' crossing=in tgid=0 comm=None>",
        ),
        (Event(Mask.Q_OVERFLOW, None, lost=7), "<Event q_overflow None lost=7 tgid=0 comm=None>"),
        (Event(Mask.Q_OVERFLOW, None, lost=None), "<Event q_overflow None lost=None tgid=0 comm=None>"),
        (Event(Mask.CREATE, b"/\xff\n"), "<Event create '/\\udcff\\n' tgid=0 comm=None>"),
    ],
)
def test_an_event_reads_well(event: Event, text: str) -> None:
    assert repr(event) == text


def test_an_event_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Event(Mask.CREATE, b"/f").extra = 1  # type: ignore[attr-defined]


WHOLE = Event(
    Mask.RENAME,
    b"/new\xff",
    raw_old_path=b"/old",
    crossing="in",
    is_dir=True,
    tgid=2**31 - 1,
    tid=3,
    process=Process(1000, "sh", "/bin/sh"),
    dev=2**40,
    inode=2**64 - 1,
    time_ns=2**62,
    undecided=True,
    lost=None,
    engine="other",
)
PLAIN = [name for name in Event.__slots__ if name != "process"]


def plain(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in PLAIN}


def pickled(event: Event) -> Event:
    copied: Event = pickle.loads(pickle.dumps(event))
    return copied


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_an_event_can_be_copied_and_pickled(duplicate: Callable[[Event], Event]) -> None:
    copied = duplicate(WHOLE)
    assert copied is not WHOLE
    assert type(copied) is Event
    assert plain(copied) == plain(WHOLE)
    assert (copied.uid, copied.comm, copied.exe) == (1000, "sh", "/bin/sh")
    assert repr(copied) == repr(WHOLE)


def test_events_are_equal_only_to_themselves_and_can_be_keys() -> None:
    same = copy.copy(WHOLE)
    assert WHOLE == WHOLE
    assert same != WHOLE
    assert len({WHOLE: 1, same: 2}) == 2


@pytest.mark.parametrize("name", Event.__slots__)
def test_every_attribute_of_an_event_can_be_set_and_deleted(name: str) -> None:
    event = copy.copy(WHOLE)
    for value in (None, 7, "text", b"bytes", Mask.CREATE):
        setattr(event, name, value)
        assert getattr(event, name) == value
    delattr(event, name)
    assert not hasattr(event, name)


class OwnEvent(Event):
    """An event of a user's own."""

    def __init__(self, path: str) -> None:
        super().__init__(Mask.CREATE, os.fsencode(path))
        self.note = "mine"

    @property
    def names(self) -> tuple[str, ...]:
        return ("made", *super().names)


def test_an_event_can_be_subclassed() -> None:
    event = OwnEvent("/f")
    assert (event.path, event.names, event.note) == ("/f", ("made", "create"), "mine")
    copied = pickle.loads(pickle.dumps(event))
    assert (type(copied), copied.path, copied.note) == (OwnEvent, "/f", "mine")


def test_an_event_tells_its_signature_and_its_documentation() -> None:
    assert list(inspect.signature(Event).parameters)[:3] == ["mask", "raw_path", "raw_old_path"]
    assert Event.__doc__
    assert Event.path.__doc__
    assert Event.clock == "boottime"


def test_a_process_can_be_copied_pickled_and_subclassed() -> None:
    class OwnProcess(Process):
        pass

    process = Process(1, "c", "/e")
    for copied in (copy.copy(process), pickle.loads(pickle.dumps(process)), OwnProcess(1, "c", "/e")):
        assert (copied.uid, copied.comm, copied.exe) == (1, "c", "/e")


def test_counters_are_a_dataclass() -> None:
    counters = Counters(n_delivered=1)
    assert counters == pickle.loads(pickle.dumps(counters)) == copy.copy(counters)
    assert dataclasses.replace(counters, n_lost=2) == Counters(n_delivered=1, n_lost=2)
    assert dataclasses.asdict(counters)["n_delivered"] == 1
    assert repr(counters).startswith("Counters(n_delivered=1, ")


def test_what_handlers_are_shown_can_be_copied_and_kept() -> None:
    lookup = PathLookup(Event(Mask.CREATE, b"/n", process=Process(7, "c")), list)
    shown = Candidate(int(Mask.CREATE | Mask.ONDIR), b"n", 7, 5, lookup, frozenset(), dev=1)
    kept = copy.copy(shown)
    assert (kept.mask, kept.is_dir, kept.name, kept.uid, kept.comm, kept.dev) == (shown.mask, True, b"n", 7, b"c", 1)
    with pytest.raises(AttributeError):
        kept.extra = 1  # type: ignore[attr-defined]
