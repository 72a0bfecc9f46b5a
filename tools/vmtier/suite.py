"""Tests in a machine: pytest inside, its JUnit file and one line about it outside."""

import os
import shutil
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import VmError
from .machine import Machine
from .skips import listed, unexpected

TESTS = Path(__file__).resolve().parents[2] / "tests"
#: what is run inside without being asked for something else
USUAL = ("tests/vm/inside", "tests/kernel", "tests/scenarios")
#: and of that which takes minutes each, as much as can be waited for
LONG = ("tests/kernel/test_leaks.py", "tests/scenarios/test_storm.py::test_s17_a_million_operations[kernel-scope-ext4]")
#: what runs in translation is slower by an order of magnitude
TIMEOUT_S = 600
#: and does this part of the work of tests that only repeat something (tests/sizes.py)
WORK = 0.1
N_SLOWEST = 15


@dataclass(frozen=True)
class Report:
    """
    What came of the tests on one kernel.

    :ivar line: for people
    :ivar exit_code: of pytest, or of the machine's failure
    """

    line: str
    exit_code: int


def all_series() -> list[str]:
    """The kernels that the project is tested on, newest first (tests/vm/kernels.toml)."""
    return list(tomllib.loads((TESTS / "vm" / "kernels.toml").read_text()))


def run(series: str, machine: Machine, arguments: list[str], results: Path, *, is_long: bool = False) -> Report:
    """
    Run pytest in a machine, and pass its output on.

    :param arguments: for pytest, instead of the usual tests
    :param results: where junit-SERIES.xml is put
    :param is_long: instead of the usual tests those that take minutes each
    """
    is_usual = not arguments
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fanotify-fastpath-junit-") as work:
        junit = Path(work) / "junit.xml"
        command = [".venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
        command += ["--timeout", str(TIMEOUT_S), "--durations", str(N_SLOWEST), "--junitxml", str(junit)]
        command += arguments or (["-m", "long", *LONG] if is_long else USUAL)
        begin = time.monotonic()
        promises = {"FP_VM_KERNEL": series, "FP_VM_RELEASE": machine.kernel.release}
        promises |= {"FP_KERNEL_TESTS": "1", "FP_REQUIRE_ROOT": "1", "FP_WORK": str(WORK)}
        promises |= {"FP_ENGINE": "kernel"} if is_usual else {}
        inside = replace(machine, shares=[Path(work)], environment=promises)
        try:
            exit_code = inside.run(command, sys.stdout.buffer, sys.stderr.buffer)
        except VmError as error:
            print(f"vm: {error}", file=sys.stderr)
            return Report(f"{machine.kernel.version}: {str(error).splitlines()[0]}", error.exit_code)
        duration_s = time.monotonic() - begin
        if not junit.exists():
            return Report(f"{machine.kernel.version}: no results, exit code {exit_code}", exit_code or os.EX_SOFTWARE)
        shutil.copyfile(junit, results / f"junit-{series}.xml")
        wrong = unexpected(junit.read_text(), listed(series), is_complete=is_usual and not is_long)
        for line in wrong:
            print(line)
        line = f"{machine.kernel.version}: {summary(junit.read_text())} in {duration_s:.0f} s"
        line += f", {len(wrong)} other skips than listed" if wrong else ""
        return Report(line, exit_code or bool(wrong))


def summary(junit: str) -> str:
    """Say what a JUnit file counts, in one line."""
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for each in ElementTree.fromstring(junit).iter("testsuite"):
        for name in counts:
            counts[name] += int(each.get(name, 0))
    failed = counts["failures"] + counts["errors"]
    return f"{counts['tests'] - counts['skipped'] - failed} passed, {counts['skipped']} skipped, {failed} failed"
