"""The table of scenarios that the daemon refuses: which entries hold for which of its engines."""

from pathlib import Path

import pytest

from scenarios import refused

ENTRY = '[[refused]]\nerror = "OSError"\nmessage = ""\ntests = []\nreason = "{reason}"\n'


def write(path: Path, *entries: str) -> Path:
    path.write_text("".join(entries))
    return path


def test_an_entry_holds_for_its_engine_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [ENTRY.format(reason="both")]
    entries += [ENTRY.format(reason=engine) + f'engine = "{engine}"\n' for engine in ("fanotify", "kernel")]
    monkeypatch.setattr(refused, "_TABLE", write(tmp_path / "table.toml", *entries))
    for engine in ("fanotify", "kernel"):
        assert [each.reason for each in refused.table(engine)] == ["both", engine]


def test_an_engine_that_is_none_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write(tmp_path / "table.toml", ENTRY.format(reason="") + 'engine = "kernl"\n')
    monkeypatch.setattr(refused, "_TABLE", table)
    with pytest.raises(pytest.UsageError, match="kernl"):
        refused.table("fanotify")
