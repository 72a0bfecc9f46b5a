"""The house rules that a reader relies on: who may import whom, sizes, docstrings, nothing of this machine."""

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fanotify_fastpath as fan
from fanotify_fastpath import lowlevel

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PACKAGE = "fanotify_fastpath"
MAX_LINES = 600
#: by tools/gen_abi.py
GENERATED = "_bpf._abi"

#: from the top down: a module imports from its own layer and those below; the names are prefixes of module names
LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__", "_daemon"),
    ("", "watch", "guard", "group", "doctor", "_probes", "lowlevel"),
    ("_engines",),
    ("builtin", "modules", "_modules", "compiling", "registry", "chain", "declaration"),
    ("handlers", "arguments", "marks", "roots", "events", "verdict", "state", "widths", "_programs", "handlers_in_c"),
    ("_uapi", "_bpf", "_compiler", "_wire"),
    ("mask", "errors", "_closing"),
)
_IGNORED_DIRS = {".git", ".venv", "build", "dist", "__pycache__", "LICENSES"}
_BINARY = {".png", ".so", ".gz", ".zst", ".o", ".img"}


def modules() -> dict[str, Path]:
    """Every module of the package by name relative to it; the package itself is the empty name."""
    found = {}
    for path in sorted((SRC / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SRC / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name: str, *, at_import: bool = False) -> set[str]:
    """The package's own modules that a module imports: anywhere in its text, or when it is imported itself."""
    found = set()
    tree = ast.parse(MODULES[name].read_text())
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            module = node.module or ""
            for alias in node.names:
                full = f"{module}.{alias.name}"
                found.add(full if full.removeprefix(f"{PACKAGE}.") in MODULES else module)
    return {
        full.removeprefix(PACKAGE).lstrip(".") for full in found if full == PACKAGE or full.startswith(f"{PACKAGE}.")
    }


def layer_of(name: str) -> int:
    """Number of the layer, 0 at the top."""
    first = name.split(".")[0]
    found = [n for n, layer in enumerate(LAYERS) if first in layer]
    assert len(found) == 1, f"module {name!r} is in no layer of {__file__}"
    return found[0]


def part_of(name: str, package: str) -> str | None:
    """The part below *package* that a module belongs to: ``_engines.fanotify.tree`` is of part ``fanotify``."""
    parts = name.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 else None


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downwards(name: str) -> None:
    upwards = {other for other in imports_of(name) if layer_of(other) < layer_of(name)}
    assert not upwards


def test_no_engine_imports_another() -> None:
    shared = {"base", "common"}
    engines = {
        p.name for p in (SRC / PACKAGE / "_engines").iterdir() if p.is_dir() and p.name not in ("__pycache__", "common")
    }
    for name in MODULES:
        engine = part_of(name, "_engines")
        if engine in engines:
            others = {part_of(other, "_engines") for other in imports_of(name)} - {engine, None} - shared
            assert not others, f"{name} imports {others}"


def test_compiler_never_imports_bpf() -> None:
    for name in MODULES:
        if name.split(".")[0] == "_compiler":
            assert not [other for other in imports_of(name) if other.split(".")[0] == "_bpf"]


def test_imports_have_no_cycle() -> None:
    state: dict[str, bool] = {}

    def visit(name: str, way: list[str]) -> None:
        if state.get(name):
            return
        assert name not in way, f"cycle: {' -> '.join([*way, name])}"
        for other in (
            imports_of(name, at_import=True) & MODULES.keys()
        ):  # what is in C imports nothing when it is loaded
            visit(other, [*way, name])
        state[name] = True

    for name in MODULES:
        visit(name, [])


@pytest.mark.parametrize("name", MODULES.keys() - {GENERATED})
def test_module_is_short_enough(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_docstring(name: str) -> None:
    text = MODULES[name].read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def public_objects() -> Iterator[tuple[str, object]]:
    """Every public class and function, and the public methods and properties of the classes."""
    faces: list[ModuleType] = [fan, lowlevel]
    for face in faces:
        for name in face.__all__:
            thing = getattr(face, name)
            if inspect.isclass(thing):
                yield name, thing
                if not issubclass(thing, int | BaseException):
                    for member, value in vars(thing).items():
                        is_told = f":ivar {member}:" in (thing.__doc__ or "")
                        if member.startswith("_") or is_told:
                            continue
                        if inspect.isroutine(value) or isinstance(value, property):
                            yield f"{name}.{member}", getattr(thing, member)
            elif inspect.isroutine(thing):
                yield name, thing


PUBLIC = dict(public_objects())


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_has_a_docstring(name: str) -> None:
    thing = PUBLIC[name]
    text = thing.__doc__ if inspect.isclass(thing) else inspect.getdoc(thing)
    assert text
    assert not text.startswith(f"{getattr(thing, '__name__', '')}("), "made by dataclass, not written"


def test_all_names_exist_and_are_sorted_out() -> None:
    for face in (fan, lowlevel):
        assert len(set(face.__all__)) == len(face.__all__)
        for name in face.__all__:
            assert hasattr(face, name)


def imported_by(statement: str) -> set[str]:
    """The modules that a statement loads in a fresh interpreter."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    heavy = {"llvmlite", "rich", "shtab", "argparse", "multiprocessing", "http", "unittest", f"{PACKAGE}.cli"}
    # asyncio serves "async for" and brings a few of these along, in some versions
    assert not (imported_by(f"import {PACKAGE}") - imported_by("import asyncio")) & heavy


def text_files() -> Iterator[Path]:
    """The files of the checkout that people read."""
    for directory, subdirectories, files in os.walk(ROOT):
        subdirectories[:] = [name for name in subdirectories if name not in _IGNORED_DIRS and "cache" not in name]
        subdirectories[:] = [name for name in subdirectories if not name.startswith((".venv", ".hyp"))]
        for name in files:
            path = Path(directory, name)
            if path.suffix not in _BINARY and not path.is_symlink():
                yield path


def test_nothing_speaks_of_this_machine() -> None:
    # written in parts, so that this file does not find itself
    words = [f"/{'root'}/.", f"/{'work'}/", f"{'py'}env", f"/tmp/{'venv'}", f"{'pypi'}.", f"{'index'}-url"]
    found = []
    for path in text_files():
        text = path.read_text(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words if word in text]
    assert not found
