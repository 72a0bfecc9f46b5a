"""
What the daemon does for nobody: scenarios that cannot be played through it, and the error that says so. An entry may be
about one of the daemon's engines only.

They are played all the same. One that ends in another way than ``refused.toml`` says is a failure, and so is an entry
that fits no test.
"""

import builtins
import fnmatch
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.support import NAME
from fanotify_fastpath import errors

_ENGINES = ("fanotify", "kernel")
_TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Refusal:
    """
    One entry.

    :ivar tests: patterns of module and test
    :ivar error: class of the error; ``Failed`` is that of ``pytest.fail``
    :ivar message: part of what it says
    :ivar reason: why it is so
    """

    tests: tuple[str, ...]
    error: type[BaseException]
    message: str
    reason: str

    def fits(self, call: pytest.CallInfo[None]) -> bool:
        """Tell whether a test has ended in this."""
        raised = call.excinfo.value if call.excinfo is not None else None
        return call.when == "call" and isinstance(raised, self.error) and self.message in str(raised)


_REFUSAL = pytest.StashKey[Refusal]()


def table(engine: str = NAME) -> list[Refusal]:
    """
    All entries for a daemon with that engine.

    :raises pytest.UsageError: there is one for an engine that is none
    """
    entries = tomllib.loads(_TABLE.read_text())["refused"]
    strange = {entry.get("engine") for entry in entries} - {None, *_ENGINES}
    if strange:
        raise pytest.UsageError(f"{_TABLE.name}: {strange} is no engine of the daemon's")
    return [
        Refusal(tuple(entry["tests"]), _error(entry["error"]), entry["message"], entry["reason"])
        for entry in entries
        if entry.get("engine", engine) == engine
    ]


def _error(name: str) -> type[BaseException]:
    if name == "Failed":
        return pytest.fail.Exception
    kind: type[Exception] = getattr(errors, name, None) or getattr(builtins, name)
    return kind


def mark(items: Iterable[pytest.Item]) -> None:
    """
    Have the tests that are listed fail as the table says, and no other way.

    :raises pytest.UsageError: nothing fits an entry, though the whole of its module is to be run
    """
    by_module: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_module[item.path.stem].append(item)
    for refusal in table():
        for pattern in refusal.tests:
            module, _, test = pattern.partition("::")
            there = by_module.get(module, [])
            found = [item for item in there if fnmatch.fnmatchcase(item.name, _literal(test))]
            if there and not found and _is_whole(there[0].config):
                raise pytest.UsageError(f"{_TABLE.name}: no test is like {pattern}")
            for item in found:
                item.stash[_REFUSAL] = refusal
                item.add_marker(pytest.mark.xfail(strict=True, reason=refusal.reason))


def check(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Let a report say that a test which is listed has failed, if it ended in another error."""
    refusal = item.stash.get(_REFUSAL, None)
    if refusal is not None and call.excinfo is not None and not refusal.fits(call):
        report.outcome = "failed"
        report.longrepr = f"not {refusal.error.__name__} ({refusal.message}), but:\n{call.excinfo.getrepr()}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail


def _literal(pattern: str) -> str:
    """Only a star stands for something else."""
    return pattern.replace("[", "[[]")


def _is_whole(config: pytest.Config) -> bool:
    return not any("::" in argument for argument in config.args)
