"""Events: names, decoding at the edge, and how they read."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import Event, Mask, Process


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
