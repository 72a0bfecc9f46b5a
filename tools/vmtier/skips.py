"""Which tests may be skipped in a machine: those of tests/vm/skips.toml, each with its reason, and no others."""

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).resolve().parents[2] / "tests" / "vm" / "skips.toml"


@dataclass(frozen=True)
class Skip:
    """
    An entry of the list.

    :ivar tests: as pytest names them; a star stands for any text
    :ivar kernels: the series on which they are skipped
    :ivar reason: why
    """

    tests: str
    kernels: tuple[str, ...]
    reason: str

    def covers(self, test: str) -> bool:
        """Whether it speaks of that test."""
        return re.fullmatch(".*".join(map(re.escape, self.tests.split("*"))), test) is not None


def read_list(text: str) -> list[Skip]:
    """The entries of a file like tests/vm/skips.toml."""
    return [Skip(each["tests"], tuple(each["kernels"]), each["reason"]) for each in tomllib.loads(text).get("skip", [])]


def listed(series: str) -> list[Skip]:
    """What may be skipped, and must be, on the kernels of a series."""
    return [skip for skip in read_list(LIST.read_text()) if series in skip.kernels]


def skipped(junit: str) -> dict[str, str]:
    """The tests that a JUnit file says were skipped, or failed as they were expected to, and why."""
    found = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        for told in case.iter("skipped"):
            module = case.get("classname", "").replace(".", "/")
            found[f"{module}.py::{case.get('name')}"] = told.get("message", "")
    return found


def unexpected(junit: str, skips: list[Skip], *, is_complete: bool) -> list[str]:
    """
    Compare what was skipped with the list.

    :param is_complete: all tests were run, so that what is on the list must have been skipped
    :return: a sentence for each test that was skipped without being listed, and for each entry without a skip
    """
    found = skipped(junit)
    wrong = [
        f"skipped, but not listed in {LIST.name}: {test}: {why}"
        for test, why in found.items()
        if not any(skip.covers(test) for skip in skips)
    ]
    if is_complete:
        unused = [skip for skip in skips if not any(skip.covers(test) for test in found)]
        wrong += [f"listed in {LIST.name}, but not skipped: {skip.tests}" for skip in unused]
    return wrong
