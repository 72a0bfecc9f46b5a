"""``doctor``: found by trying, on nothing that anybody uses."""

import json
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from fanotify_fastpath import Report, diagnose
from fanotify_fastpath.cli import main
from fanotify_fastpath.group import EngineName

Capture = pytest.CaptureFixture[str]


def _can_open(engine: EngineName) -> bool:
    try:
        fan.Group(engine=engine).close()
    except fan.FastpathError:
        return False
    return True


def test_each_engine_has_a_yes_or_no_and_a_reason() -> None:
    report = diagnose()
    assert isinstance(report, Report)
    assert [engine.name for engine in report.engines] == ["kernel", "fanotify", "daemon"]
    assert all(engine.reason and engine.checks for engine in report.engines)
    assert report.engine("kernel").available == _can_open("kernel")
    assert report.engine("kernel").reason
    assert {check.name for check in report.engine("kernel").checks} >= {"BTF", "BPF LSM", "lockdown", "capabilities"}
    with pytest.raises(KeyError):
        report.engine("nonsense")


def test_the_fanotify_engine_works_for_root(as_root: None) -> None:
    report = diagnose()
    assert report.chosen == ("kernel" if report.engine("kernel").available else "fanotify")
    assert report.engine("fanotify").available
    assert all(check.ok is not None for check in report.engine("fanotify").checks)


def test_limits_and_capabilities_are_those_of_the_kernel() -> None:
    report = diagnose()
    queue = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    assert report.limits["max_queued_events"] == queue
    assert {"max_user_marks", "max_user_groups"} <= set(report.limits)
    assert "CAP_SYS_ADMIN" in report.capabilities


def test_paths_are_told_with_their_filesystem(tmpfs: Path, overlay: Path) -> None:
    good, proc, over = diagnose([tmpfs, "/proc", overlay]).paths
    assert (good.fs_type, good.mountpoint, good.can_watch) == ("tmpfs", str(tmpfs), True)
    assert (proc.fs_type, proc.can_watch) == ("proc", False)
    assert (over.fs_type, over.can_watch) == ("overlay", False)
    assert "nfs_export" in over.reason


def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(fan.PathNotFound):
        diagnose(tmp_path / "missing")


def test_the_live_test_sees_its_canary_and_removes_it(tmpfs: Path) -> None:
    live = diagnose(live=tmpfs).live
    assert live is not None
    assert live.seen, live.reason
    assert live.latency_ns is not None
    assert 0 < live.latency_ns < 5e9
    assert list(tmpfs.iterdir()) == []


def test_live_on_the_command_line(tmpfs: Path, capsys: Capture) -> None:
    assert main(["doctor", "--live", str(tmpfs)]) == 0
    assert "latency" in capsys.readouterr().out
    assert main(["doctor", "--live", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"]["seen"]


def test_live_where_nothing_can_be_watched_is_4(overlay: Path, capsys: Capture) -> None:
    assert main(["doctor", "--live", str(overlay)]) == 4
    assert list(overlay.iterdir()) == []


def test_live_in_a_missing_directory_is_1(tmp_path: Path, capsys: Capture) -> None:
    assert main(["doctor", "--live", str(tmp_path / "missing")]) == 1
    assert "canary" in capsys.readouterr().err


def test_live_not_seen_is_1(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    from fanotify_fastpath._probes import live

    unseen = fan.LiveReport("/srv", False, None, "fanotify", "its event did not come")
    monkeypatch.setattr(live, "run_canary", lambda where: unseen)
    assert main(["doctor", "--live"]) == 1
    assert "fanfp: the live test in /srv failed" in capsys.readouterr().err


def test_the_report_for_people_names_everything(tmpfs: Path, capsys: Capture) -> None:
    assert main(["doctor", str(tmpfs), "/proc"]) == 0
    out = capsys.readouterr().out
    for word in ("kernel", "fanotify", "yes", "no", "max_queued_events", "CAP_SYS_ADMIN", str(tmpfs), "/proc"):
        assert word in out


def test_json_is_the_report(capsys: Capture) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {
        "version", "compiled", "kernel", "uid", "chosen", "engines", "capabilities", "limits", "paths", "live",
        "listing",
    }  # fmt: skip
