"""Compiled or not: all listed modules or none, never an old one, and the same behaviour of those in Python."""

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import fanotify_fastpath
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath._probes.system import is_compiled
from mounting import is_root_required

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PACKAGE = "fanotify_fastpath"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOOK = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
MODULES: list[str] = HOOK["modules"]
C_MODULES: list[str] = HOOK["c-modules"]

#: what runs on the interpreted form too, quickly
UNIT = ("compiled", "events", "raw", "records", "sequence", "tree", "words")
SCENARIOS = ("attach", "deletion", "links", "mounts", "moves", "roots_live", "stream", "subtree")
OTHER_FILESYSTEMS = "not (xfs or btrfs or tmpfs or overlayfs)"

only_compiled = pytest.mark.skipif(not is_compiled(), reason="this installation is not compiled")


def loaded_from(module: str) -> Path:
    found = importlib.import_module(module.partition(".")[0].replace("/", "."))
    assert found.__file__ is not None
    return Path(found.__file__)


@pytest.mark.parametrize("module", MODULES)
def test_all_listed_modules_are_compiled_or_none(module: str) -> None:
    assert loaded_from(module).name.endswith(tuple(EXTENSION_SUFFIXES)) == is_compiled()


@only_compiled
@pytest.mark.parametrize("module", MODULES + C_MODULES)
def test_no_compiled_module_is_older_than_its_source(module: str) -> None:
    compiled = loaded_from(module)
    source = compiled.parent / Path(module).name
    assert compiled.stat().st_mtime >= source.stat().st_mtime, "run make setup"


def test_nothing_else_is_compiled() -> None:
    package = Path(fanotify_fastpath.__file__).parent
    found = {str(path.relative_to(package.parent)).split(".")[0] for path in package.rglob("*.so")}
    listed = {module.split(".")[0] for module in MODULES + C_MODULES}
    assert found == (listed if is_compiled() else set())


def test_every_source_in_c_is_listed() -> None:
    assert {str(path.relative_to(SRC)) for path in SRC.rglob("*.c")} == set(C_MODULES)


def test_without_its_part_in_c_the_reader_of_rings_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{PACKAGE}._bpf._ring", None)
    monkeypatch.delattr(f"{PACKAGE}._bpf._ring", raising=False)
    with pytest.raises(fanotify_fastpath.UnsupportedFeature, match="install a C compiler and Python's headers"):
        RingReader(0, 4096)


@only_compiled
def test_a_reader_of_rings_compiled_for_other_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{PACKAGE}._bpf._ring.EVENT_BYTES", 152)
    with pytest.raises(fanotify_fastpath.UnsupportedFeature, match="compiled for other records"):
        RingReader(0, 4096)


@pytest.fixture
def interpreted(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package is a copy of its sources alone."""
    shutil.copytree(SRC / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)
    return environment


def run_tests(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@only_compiled
def test_the_interpreted_form_passes_the_unit_tests(interpreted: dict[str, str]) -> None:
    run_tests(interpreted, *(f"tests/unit/test_{name}.py" for name in UNIT))


@only_compiled
@pytest.mark.skipif(os.geteuid() != 0 and not is_root_required(), reason="scenarios need root")
def test_the_interpreted_form_passes_scenarios(interpreted: dict[str, str]) -> None:
    run_tests(interpreted, "-k", OTHER_FILESYSTEMS, *(f"tests/scenarios/test_{name}.py" for name in SCENARIOS))
