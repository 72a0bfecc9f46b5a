#!/usr/bin/env python3
"""
Load every BPF program of the kernel engine, and print how many instructions the verifier went through.

usage: tools/vm run --kernel SERIES -- .venv/bin/python tools/verifier_counts.py

The numbers belong into the table of docs/kernel-engine.md; tests/kernel/test_verifier.py compares them.
"""

import ctypes
import os
import re
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
    What the verifier said of an object file.

    :ivar counts: by program the instructions that it went through
    :ivar errno: of the load; 0: it was accepted
    :ivar log: of the last program
    """

    counts: dict[str, int]
    errno: int
    log: str


def object_files() -> list[Path]:
    """The object files of the installed package."""
    directory = resources.files("fanotify_fastpath._bpf").joinpath("objects")
    return sorted(Path(str(each)) for each in directory.iterdir() if each.name.endswith(".bpf.o"))


def verify(path: Path) -> Verified:
    """Load an object file, and unload it."""
    lib = _libbpf()
    program_file = lib.bpf_object__open_file(os.fsencode(path), None)
    if not program_file:
        raise OSError(ctypes.get_errno(), f"cannot open {path.name}")
    try:
        logs: dict[str, ctypes.Array[ctypes.c_char]] = {}
        program = lib.bpf_object__next_program(program_file, None)
        while program:
            log = logs[lib.bpf_program__name(program).decode()] = ctypes.create_string_buffer(LOG_BYTES)
            lib.bpf_program__set_log_level(program, LOG_STATS)
            lib.bpf_program__set_log_buf(program, log, LOG_BYTES)
            program = lib.bpf_object__next_program(program_file, program)
        result = lib.bpf_object__load(program_file)
    finally:
        lib.bpf_object__close(program_file)
    texts = {name: log.value.decode(errors="replace") for name, log in logs.items()}
    counts = {name: int(found[1]) for name, text in texts.items() if (found := _COUNT.search(text)) and not result}
    return Verified(counts, -result, next((text for text in reversed(texts.values()) if text), ""))


def _libbpf() -> ctypes.CDLL:
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name, result, arguments in (
        ("libbpf_set_print", _POINTER, (_POINTER,)),
        ("bpf_object__open_file", _POINTER, (ctypes.c_char_p, _POINTER)),
        ("bpf_object__next_program", _POINTER, (_POINTER, _POINTER)),
        ("bpf_program__name", ctypes.c_char_p, (_POINTER,)),
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
        verified = verify(path)
        for program, count in verified.counts.items():
            print(f"{path.name.partition('.')[0]} {program} {count}")
        if verified.errno:
            print(f"{path.name.partition('.')[0]} refused: {os.strerror(verified.errno)}: {verified.log[-300:]}")


if __name__ == "__main__":
    main()
