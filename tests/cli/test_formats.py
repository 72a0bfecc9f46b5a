"""Each format, with events made by hand."""

import base64
import csv
import io
import json
import time

import pytest

from fanotify_fastpath import Event, Mask
from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.formats import KEYS, CompactFormat, CsvFormat, Format, JsonFormat, Writer
from fanotify_fastpath.cli.human import HumanFormat
from fanotify_fastpath.cli.session import wants_colour
from fanotify_fastpath.cli.template import TemplateFormat
from fanotify_fastpath.cli.text import escape, printable

from .support import make_event

ODD = b"/srv/\xff\xfe\n\x1b[31m\\"
OVERFLOW = Event(Mask.Q_OVERFLOW, None, lost=123)


def as_json(event: Event) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(JsonFormat().line(event))
    return loaded


def test_json_has_exactly_the_documented_keys_in_order() -> None:
    assert tuple(as_json(make_event())) == KEYS
    assert " ".join(KEYS) == (
        "time_ns mask path old_path crossing is_dir tgid tid uid comm dev inode undecided lost engine"
    )


def test_json_gives_every_value() -> None:
    event = make_event(
        Mask.RENAME, b"/srv/new", raw_old_path=b"/srv/old", crossing="in", is_dir=True, tid=43, undecided=True
    )  # fmt: skip
    assert as_json(event) == {
        "time_ns": 1_000_000_000, "mask": ["rename"], "path": "/srv/new", "old_path": "/srv/old", "crossing": "in",
        "is_dir": True, "tgid": 42, "tid": 43, "uid": 0, "comm": "sh", "dev": 65024, "inode": 7, "undecided": True,
        "lost": 0, "engine": "fanotify",
    }  # fmt: skip


def test_json_gives_null_for_what_is_missing() -> None:
    event = Event(Mask.Q_OVERFLOW, None, lost=None)
    missing = {key for key, value in as_json(event).items() if value is None}
    assert missing == {"path", "old_path", "crossing", "tgid", "tid", "uid", "comm", "dev", "inode", "lost"}


def test_json_lists_event_types_in_lower_case_without_prefix() -> None:
    assert as_json(make_event(Mask.CREATE | Mask.CLOSE_WRITE))["mask"] == ["close_write", "create"]
    assert as_json(OVERFLOW)["mask"] == ["q_overflow"]
    assert as_json(Event(Mask.ROOT_GONE, b"/srv"))["mask"] == ["root_gone"]


def test_json_of_a_path_that_is_no_utf8_has_surrogates_and_base64() -> None:
    line = JsonFormat().line(make_event(Mask.RENAME, ODD, raw_old_path=b"/srv/\xc3\xa4"))
    assert line.isascii()
    loaded = json.loads(line)
    assert set(loaded) == {*KEYS, "path_b64"}
    assert loaded["path"].encode("utf-8", "surrogateescape") == ODD
    assert base64.b64decode(loaded["path_b64"]) == ODD
    assert loaded["old_path"] == "/srv/ä"


def test_json_of_an_old_path_that_is_no_utf8() -> None:
    loaded = as_json(make_event(Mask.RENAME, b"/srv/new", raw_old_path=ODD))
    assert set(loaded) == {*KEYS, "old_path_b64"}


def test_json_survives_a_comm_that_is_no_utf8() -> None:
    assert as_json(make_event(comm='a\udcff"b\n'))["comm"] == 'a\udcff"b\n'


@pytest.mark.parametrize("style", [JsonFormat(), CompactFormat(), HumanFormat()])
def test_an_event_is_one_line_whatever_its_name(style: Format) -> None:
    line = style.line(make_event(Mask.RENAME, ODD, raw_old_path=ODD, comm="a\nb"))
    assert "\n" not in line
    assert "\x1b" not in line


def test_csv_can_be_read_back() -> None:
    events = [make_event(Mask.CREATE | Mask.OPEN, b'/srv/a,"b"\nc\rd'), OVERFLOW]
    text = Writer(CsvFormat()).render(events).decode()
    header, first, second = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == KEYS
    assert first[1:3] == ["open|create", '/srv/a,"b"\nc\rd']
    assert second[1:3] == ["q_overflow", ""]


def test_csv_keeps_the_bytes_of_names_and_has_one_header() -> None:
    writer = Writer(CsvFormat())
    text = writer.render([make_event(path=b"/srv/\xff")]) + writer.render([make_event()])
    assert b"/srv/\xff," in text
    assert text.count(b"time_ns") == 1


@pytest.mark.parametrize(
    ("mask", "letters"),
    [
        (Mask.CLOSE_WRITE, "CW"), (Mask.CLOSE_NOWRITE, "C"), (Mask.OPEN, "O"), (Mask.ACCESS, "R"), (Mask.MODIFY, "W"),
        (Mask.CREATE, "+"), (Mask.DELETE, "D"), (Mask.RENAME, "<>"), (Mask.MOVED_FROM, "<"), (Mask.MOVED_TO, ">"),
        (Mask.ACCESS | Mask.CLOSE_NOWRITE | Mask.OPEN, "RCO"), (Mask.UNMOUNT, "UNMOUNT"),
    ],
)  # fmt: skip
def test_compact_uses_fatraces_letters(mask: Mask, letters: str) -> None:
    assert CompactFormat().line(make_event(mask)) == f"sh(42): {letters} /srv/a/file"


def test_compact_names_device_and_inode_without_a_path() -> None:
    assert CompactFormat().line(make_event(Mask.OPEN, None)) == "sh(42): O device 254:0 inode 7"


def test_compact_of_a_rename_and_of_an_unknown_process() -> None:
    event = make_event(Mask.RENAME, b"/srv/b", raw_old_path=b"/srv/a", tgid=0, comm=None, uid=None)
    assert CompactFormat().line(event) == "?(?): <> /srv/a -> /srv/b"


def test_nul_separated_output_keeps_names_as_they_are() -> None:
    assert Writer(CompactFormat(raw=True), "\0").render([make_event(path=ODD)]) == b"sh(42): + " + ODD + b"\0"


def test_human_line_tells_time_operation_who_and_path() -> None:
    event = make_event(time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    style = HumanFormat()
    stamp, operation, who, user, path = style.line(event).split()
    assert abs(_seconds(stamp) - _seconds(time.strftime("%H:%M:%S"))) % 86400 <= 2
    assert (operation, who, user, path) == ("create", "sh(42)", "root", "/srv/a/file")


def _seconds(stamp: str) -> float:
    hours, minutes, seconds = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_human_lines_are_aligned() -> None:
    lines = [HumanFormat().line(make_event(mask)) for mask in (Mask.CREATE, Mask.CLOSE_WRITE | Mask.OPEN)]
    assert len({line.index("/srv") for line in lines}) == 1


@pytest.mark.parametrize(
    ("event", "end"),
    [
        (make_event(is_dir=True), "/srv/a/file/"),
        (make_event(undecided=True), "(undecided)"),
        (make_event(Mask.RENAME, b"/b", raw_old_path=b"/a", crossing="out"), "/a -> /b  (moved out)"),
        (OVERFLOW, "123 events were lost"),
        (Event(Mask.Q_OVERFLOW, None, lost=None), "events were lost, their number is unknown"),
        (Event(Mask.UNMOUNT, b"/mnt", is_dir=True), "/mnt/  (was unmounted)"),
    ],
)
def test_human_line_says_the_special(event: Event, end: str) -> None:
    assert HumanFormat().line(event).endswith(end)


def test_colours_surround_and_change_nothing() -> None:
    plain, coloured = (HumanFormat(colour=colour).line(make_event()) for colour in (False, True))
    for code in ("\x1b[0m", "\x1b[2m", "\x1b[32m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_colours_only_on_a_terminal_and_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour("auto", True)
    assert not wants_colour("auto", False)
    assert wants_colour("always", False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour("auto", True)


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("%w|%f|%e", "/srv/a/|file|CREATE"),
        ("%w%f%0%n%%", "/srv/a/file\0\n%"),
        ("%:e", "CREATE"),
        ("plain", "plain"),
        ("%{path} %{comm} %{tgid} %{uid} %{mask} %{tid}.", "/srv/a/file sh 42 0 create ."),
    ],
)
def test_template(template: str, line: str) -> None:
    assert TemplateFormat(template).line(make_event()) == line


def test_template_names_events_as_inotifywait_does() -> None:
    event = make_event(Mask.OPEN | Mask.CLOSE_NOWRITE, is_dir=True)
    assert TemplateFormat("%e").line(event) == "CLOSE_NOWRITE,OPEN,CLOSE,ISDIR"
    assert TemplateFormat("%:e").line(event) == "CLOSE_NOWRITE:OPEN:CLOSE:ISDIR"


def test_template_time_follows_timefmt() -> None:
    event = make_event(time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    assert abs(int(TemplateFormat("%T", "%s").line(event)) - time.time()) < 2
    assert TemplateFormat("%T", "now").line(event) == "now"
    assert TemplateFormat("%T").line(event).startswith("20")


@pytest.mark.parametrize("template", ["%q", "%", "%{nothing}", "%{path"])
def test_template_with_an_unknown_escape_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="known are"):
        TemplateFormat(template)


def test_batches_are_arrays_or_groups_of_lines() -> None:
    events = [make_event(), make_event(Mask.DELETE)]
    as_arrays = Writer(JsonFormat(), is_batched=True)
    assert [event["mask"] for event in json.loads(as_arrays.render(events))] == [["create"], ["delete"]]
    as_lines = Writer(CompactFormat(), is_batched=True)
    text = as_lines.render(events) + as_lines.render(events[:1])
    assert text.decode().split("\n") == [
        "sh(42): + /srv/a/file", "sh(42): D /srv/a/file", "", "sh(42): + /srv/a/file", ""
    ]  # fmt: skip


def test_escapes_are_unambiguous() -> None:
    assert escape("a\\n\n\x85\udcff\u202e") == "a\\\\n\\n\\u0085\\xff\\u202e"
    assert printable("cannot use '\\n': \x1b") == "cannot use '\\n': \\x1b"


def test_json_of_an_event_takes_microseconds() -> None:
    event, style = make_event(), JsonFormat()
    style.line(event)
    best_s = min(_timed(style, event) for _ in range(5))
    assert best_s / 1000 < 30e-6


def _timed(style: Format, event: Event) -> float:
    begin = time.perf_counter()
    for _ in range(1000):
        style.line(event)
    return time.perf_counter() - begin
