#!/usr/bin/env python3
"""
Load every BPF program of the kernel engine, and print how many instructions the verifier went through.

usage: tools/vm run --kernel SERIES -- .venv/bin/python tools/verifier_counts.py

The numbers belong into the table of docs/kernel-engine.md; tests/kernel/test_verifier.py compares them.
"""

import ctypes
import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

#: BPF_LOG_STATS, include/linux/bpf_verifier.h (v6.12): nothing but the counts
LOG_STATS = 4
LOG_BYTES = 1 << 20

_COUNT = re.compile(r"^processed (\d+) insns", re.MULTILINE)
_POINTER = ctypes.c_void_p


@dataclass(frozen=True)
class Verified:
    """
    What the verifier said of one program.

    :ivar count: instructions that it went through; None if it refused the program
    :ivar errno: of the load; 0: it was accepted
    :ivar log: what it wrote
    """

    count: int | None
    errno: int
    log: str


def object_files() -> list[Path]:
    """The object files of the installed package."""
    directory = resources.files("fanotify_fastpath._bpf").joinpath("objects")
    return sorted(Path(str(each)) for each in directory.iterdir() if each.name.endswith(".bpf.o"))


def verify(path: Path) -> dict[str, Verified]:
    """Load the programs of an object file, together if that works, else one by one; and unload them."""
    names = program_names(path)
    together = _verify(path, names)
    if not any(verified.errno for verified in together.values()):
        return together
    return {name: _verify(path, [name])[name] for name in names}


def program_names(path: Path) -> list[str]:
    """The programs of an object file."""
    with _opened(path) as (_, programs):
        return list(programs)


def _verify(path: Path, names: list[str]) -> dict[str, Verified]:
    """Load some of an object file's programs together."""
    lib = _libbpf()
    with _opened(path) as (program_file, programs):
        logs = {name: ctypes.create_string_buffer(LOG_BYTES) for name in names}
        for name, program in programs.items():
            lib.bpf_program__set_autoload(program, name in logs)
            if name in logs:
                lib.bpf_program__set_log_level(program, LOG_STATS)
                lib.bpf_program__set_log_buf(program, logs[name], LOG_BYTES)
        errno = -lib.bpf_object__load(program_file)
    texts = {name: log.value.decode(errors="replace") for name, log in logs.items()}
    return {name: Verified(_count(text, errno), errno, text) for name, text in texts.items()}


def _count(text: str, errno: int) -> int | None:
    found = _COUNT.search(text)
    return None if errno or found is None else int(found[1])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, dict[str, int]]]:
    """An object file, and its programs by name."""
    lib = _libbpf()
    program_file = lib.bpf_object__open_file(os.fsencode(path), None)
    if not program_file:
        raise OSError(ctypes.get_errno(), f"cannot open {path.name}")
    try:
        programs = {}
        program = lib.bpf_object__next_program(program_file, None)
        while program:
            programs[lib.bpf_program__name(program).decode()] = program
            program = lib.bpf_object__next_program(program_file, program)
        yield program_file, programs
    finally:
        lib.bpf_object__close(program_file)


@functools.cache
def _libbpf() -> ctypes.CDLL:
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name, result, arguments in (
        ("libbpf_set_print", _POINTER, (_POINTER,)),
        ("bpf_object__open_file", _POINTER, (ctypes.c_char_p, _POINTER)),
        ("bpf_object__next_program", _POINTER, (_POINTER, _POINTER)),
        ("bpf_program__name", ctypes.c_char_p, (_POINTER,)),
        ("bpf_program__set_autoload", ctypes.c_int, (_POINTER, ctypes.c_bool)),
        ("bpf_program__set_log_level", ctypes.c_int, (_POINTER, ctypes.c_uint32)),
        ("bpf_program__set_log_buf", ctypes.c_int, (_POINTER, ctypes.c_char_p, ctypes.c_size_t)),
        ("bpf_object__load", ctypes.c_int, (_POINTER,)),
        ("bpf_object__close", None, (_POINTER,)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print(None)
    return lib


def main() -> None:
    """Print a line for each program."""
    print(os.uname().release)
    for path in object_files():
        for program, verified in verify(path).items():
            said = verified.count if not verified.errno else f"refused: {os.strerror(verified.errno)}"
            print(f"{path.name.partition('.')[0]} {program} {said}")


if __name__ == "__main__":
    main()
