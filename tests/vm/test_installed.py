"""
docs/daemon.md, followed on a Debian with its own systemd: its commands as they stand there, in a virtual machine.

The package is built and installed by the page's first commands, but here, for a machine without a network cannot; in a
mount namespace whose /opt is a directory of the test's, which is /opt in the machine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.pages import PAGES, ROOT, blocks
from mounting import give_up
from outcomes import DEADLINE_S

FOLLOWING = Path(__file__).with_name("following.py")
#: of 10: systemd's "OK", and what tests/daemon/test_units.py allows of 100
EXPOSURE_MAX = 4.0
BUILD_DEADLINE_S, MACHINE_DEADLINE_S = 600, 1500
(PAGE,) = (page for page in PAGES if page.name == "daemon.md")
ENGINES = ("fanotify", "kernel")

pytestmark = [pytest.mark.vm, pytest.mark.timeout(BUILD_DEADLINE_S + MACHINE_DEADLINE_S + DEADLINE_S)]


def lines(contained: str, language: str = "sh") -> list[str]:
    """The lines of the only block on the page that has a line with that text."""
    (found,) = (block for block in blocks(language) if block.page == PAGE and contained in block.code)
    return found.code.splitlines()


def install_lines() -> tuple[list[str], list[str]]:
    """What installs the package, and what comes after."""
    everything = lines("systemctl enable")
    n = next(number for number, line in enumerate(everything, 1) if "pip install" in line)
    return everything[:n], everything[n:]


def commands() -> dict[str, list[str]]:
    """The lines of the page by what they are for."""
    operations = lines("systemctl status fanfpd")
    kinds = {"restart": " restart ", "stop": " stop "}
    chosen = {kind: [line for line in operations if word in line] for kind, word in kinds.items()}
    assert all(len(each) == 1 for each in chosen.values())
    return {
        **chosen,
        "look": [line for line in operations if line not in chosen["restart"] + chosen["stop"]],
        "install": install_lines()[1],
        "join": lines("usermod "),
        "use": lines("fanfp watch /srv/data"),
        "reload": lines("systemctl reload"),
        "configuration": lines('engine = "kernel"', "toml"),
        "drop-in": lines("fanfpd.service.d"),
    }


def install(directory: Path) -> None:
    """Do what installs the package, in a copy of this checkout; /opt is in the directory then."""
    checkout, opt = directory / "checkout", directory / "opt"
    opt.mkdir(mode=0o755)
    for name in ("src", "bpf", "docs", "man", "systemd"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("*.so", "*.o", "*.bc"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "LICENSES"):
        shutil.copytree(ROOT / name, checkout / name) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, checkout)
    script = "\n".join([f"mount --bind {opt} /opt", *install_lines()[0]])
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of it."""
    if os.geteuid() != 0:
        give_up("virtual machines need root")
    directory = tmp_path_factory.mktemp("installed")
    install(directory)
    script = 'mount --bind "$1/opt" /opt; exec "$2" "$3" "$4"'
    arguments = [str(directory), "/usr/bin/python3", str(FOLLOWING), json.dumps(commands())]
    runner = [sys.executable, str(ROOT / "tools" / "vm"), "run", "--systemd", "--timeout", str(MACHINE_DEADLINE_S)]
    transcript = directory / "transcript"  # the commands, and what they printed
    with transcript.open("wb") as stderr:
        done = subprocess.run(
            [*runner, "--share", str(directory), "--", "sh", "-ec", script, "sh", *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    print(transcript.read_text())
    assert done.returncode == 0, transcript.read_text()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_commands_install_it(found: dict[str, Any]) -> None:
    assert found["installed"]["failed"] == []


def test_who_is_not_in_the_group_is_told_so(found: dict[str, Any]) -> None:
    code, output = found["installed"]["refused before joining"]
    assert (code, "this user may not use it" in output) == (3, True), output


def test_the_first_client_starts_it(found: dict[str, Any]) -> None:
    assert found["installed"]["before"] == ["active", "inactive"]
    assert found["installed"]["the first client starts it"]


def test_the_drop_in_is_installed_by_the_commands(found: dict[str, Any]) -> None:
    assert found["kernel"]["drop-in failed"] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ordinary_user_sees_events(found: dict[str, Any], engine: str) -> None:
    told = found[engine]
    assert (told["is ready"], told["told"]) == (True, True), (told["says"], told["output"])
    assert [(served["engine"], served["uid"] > 0) for served in json.loads(told["ps"])] == [(engine, True)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_page_says_of_operations_works(found: dict[str, Any], engine: str) -> None:
    assert found[engine]["failed"] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_journal_has_its_lines(found: dict[str, Any], engine: str) -> None:
    assert re.search(rf"^serving socket=\S+ engine={engine} tgid=\d+$", found[engine]["log"], re.MULTILINE)


@pytest.mark.parametrize("engine", ENGINES)
def test_systemd_counts_it_as_no_more_exposed_than_allowed(found: dict[str, Any], engine: str) -> None:
    score = re.search(r"exposure level for fanfpd.service: ([\d.]+) ", found[engine]["security"])
    assert score is not None
    assert float(score[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("engine", ENGINES)
def test_no_event_is_lost_by_a_reload(found: dict[str, Any], engine: str) -> None:
    assert found[engine]["reload"] == {
        "failed": [],
        "is read": True,
        "is the same process": True,
        "missing": [],
        "lost": [],
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_the_client_is_told_of_a_restart_and_goes_on(found: dict[str, Any], engine: str) -> None:
    told = found[engine]
    assert (told["rescan"], told["told after a restart"]) == (True, True), (told["says"], told["output"])


@pytest.mark.parametrize("engine", ENGINES)
def test_who_comes_when_it_is_stopped_is_told(found: dict[str, Any], engine: str) -> None:
    told = found[engine]
    assert told["stopped"] == ["inactive", "inactive"]
    code, output = told["told of it"]
    assert (code, "or the daemon fanfpd, which is not at" in output) == (3, True), output
