"""The gate for root and for what compiles programs."""

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath._bpf.libbpf import Map, MapType
from fanotify_fastpath.errors import FastpathError
from mounting import give_up

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "bpf" / "include"
FLAGS = ["-O2", "-g", "-Wall", "-Wextra", "-Wtype-limits", "-Wno-unused-parameter", "-Werror", "-target", "bpf"]

Compile = Callable[..., Path]


@functools.cache
def why_not() -> str | None:
    """What is missing here for programs in the kernel, None if nothing is."""
    if shutil.which("clang") is None:
        return "tests/kernel need clang"
    if os.geteuid() != 0:
        return "tests/kernel need root: they load BPF programs"
    try:
        Map.create(MapType.RINGBUF, "probe", max_entries=os.sysconf("SC_PAGESIZE")).close()
    except FastpathError as exc:
        return f"tests/kernel need BPF: {exc}"
    return None


@pytest.fixture(autouse=True, scope="session")
def bpf_required() -> None:
    reason = why_not()
    if reason is not None:
        give_up(reason)


@pytest.fixture(autouse=True)
def _no_leaks(bpf_required: None, no_leaks: None) -> None: ...


@pytest.fixture(scope="session")
def compiled(bpf_required: None, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """A function that compiles a program of ``programs/``, with macros defined by name and value."""
    headers = ["-isystem", f"/usr/include/{platform.machine()}-linux-gnu", "-I", str(INCLUDE)]

    @functools.cache
    def compile_program(name: str, **macros: str) -> Path:
        made = tmp_path_factory.mktemp(name) / f"{name}.bpf.o"
        defines = [f"-D{macro}={value}" for macro, value in macros.items()]
        source = HERE / "programs" / f"{name}.bpf.c"
        subprocess.run(["clang", *FLAGS, *headers, *defines, "-c", source, "-o", made], check=True)
        return made

    return compile_program
