"""Handlers in C as files: they can be loaded, and what is none is refused with a sentence that says why."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fanotify_fastpath import (
    HandlerExists,
    InvalidArgument,
    PathNotFound,
    Registry,
    SourceRefused,
    UnsupportedFeature,
    modules,
)
from fanotify_fastpath.handlers_in_c import read_handler

ROOT = Path(__file__).resolve().parents[2]
HEADERS = ("-idirafter", "/usr/include/x86_64-linux-gnu", "-idirafter", "/usr/include/aarch64-linux-gnu")
HEAD = '#include <handler.bpf.h>\nHANDLER("it", "a handler");\n'
SENDS = "int handle(struct fp_handler_event *event)\n{\n\treturn FP_SEND_TO_USERSPACE;\n}\n"
MAP = (
    "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); }"
    ' mine SEC(".maps");\n'
)
OTHER_SIZE = 'struct mine_argument { __u64 words[2]; };\nHANDLER_ARGUMENT(mine, "integer", "two words");\n'


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (f"#include <handler.bpf.h>\n{SENDS}", "'.rodata.manifest' is missing: begin it with"),
        ("int nothing;\n", "program 'handle_fentry' is missing: begin it with"),
        (HEAD + "HANDLER_COUNTER(handle_it)\n" + SENDS, "clang does not accept"),
        (HEAD + 'HANDLER_NEEDS("colour");\n' + SENDS, "unknown word 'colour'"),
        (HEAD + 'HANDLER_INTEGER(root_sets, "n");\n' + SENDS, "'root_sets' has a meaning; name it otherwise"),
        (HEAD + MAP + SENDS, "map 'mine' is not declared by HANDLER_COUNTER"),
        (HEAD + 'HANDLER_LINE("counter mine");\n' + SENDS, "map 'mine' is declared, but it is not there"),
        (
            HEAD + 'HANDLER_LINE("argument mine integer n");\n' + SENDS,
            "argument 'mine' is declared, but it is not there",
        ),
        (HEAD + OTHER_SIZE + SENDS, "argument 'mine' has 16 bytes, not the 8 declared"),
        (HEAD + 'HANDLER("two", "handlers");\n' + SENDS, "'version' is said twice"),
        (HEAD.replace('"it"', '""') + SENDS, "handler name '' has 0 bytes"),
        (
            HEAD.replace("HANDLER(", "#undef FP_HANDLER_VERSION\n#define FP_HANDLER_VERSION 99\nHANDLER(") + SENDS,
            "version 99",
        ),
        (HEAD + 'HANDLER_TEXTS(many, 100, 100, "too many");\n' + SENDS, "the limit is 4096"),
    ],
)
def test_what_is_no_handler_is_refused(tmp_path: Path, source: str, says: str) -> None:
    (tmp_path / "it.bpf.c").write_text(source)
    with pytest.raises(InvalidArgument) as caught:
        read_handler(tmp_path / "it.bpf.c")
    assert says in str(caught.value)


def test_clang_is_heard(tmp_path: Path) -> None:
    (tmp_path / "it.c").write_text(HEAD + "int handle(struct fp_handler_event *event)\n{\n\treturn event->colour;\n}\n")
    with pytest.raises(
        InvalidArgument, match=r"it\.c:5:16: error: no member named 'colour' in 'struct fp_handler_event'"
    ):
        read_handler(tmp_path / "it.c")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("it.o", "is no object file for BPF"),
        ("it.bc", "no bitcode of LLVM"),
        ("it.py", "their names end in .c, .o, .bc"),
    ],
)
def test_what_is_no_program_is_refused(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"\x7fELF or not")
    with pytest.raises(InvalidArgument, match=says):
        read_handler(tmp_path / name)
    with pytest.raises((FileNotFoundError, InvalidArgument)):
        read_handler(tmp_path / f"missing-{name}")


def test_an_object_for_another_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "it.c").write_text("int handle_run;\n")
    for suffix, flags in ((".o", ()), (".bc", ("-emit-llvm",))):
        subprocess.run(["clang", *flags, "-c", tmp_path / "it.c", "-o", tmp_path / f"it{suffix}"], check=True)
        with pytest.raises(InvalidArgument, match=r"is no object file for BPF|this is bitcode for '(x86|aarch64)"):
            read_handler(tmp_path / f"it{suffix}")


def test_an_object_made_with_other_headers_is_refused_with_the_field(tmp_path: Path) -> None:
    include = shutil.copytree(ROOT / "bpf" / "include", tmp_path / "include")
    header = include / "handler.h"
    header.write_text(header.read_text().replace("__u64 dev;", "__u64 device;"))
    (tmp_path / "it.c").write_text(HEAD + SENDS)
    made = tmp_path / "it.o"
    flags = ("-target", "bpf", "-O2", "-g", "-I", str(include), *HEADERS)
    subprocess.run(["clang", *flags, "-c", str(tmp_path / "it.c"), "-o", str(made)], check=True)
    with pytest.raises(InvalidArgument, match="fp_handler_event: dev"):
        read_handler(made)


def test_it_is_a_source_of_handlers_as_other_files_are(tmp_path: Path) -> None:
    path, handlers = tmp_path / "it.bpf.c", Registry()
    path.write_text(HEAD + SENDS)
    (loaded,) = modules.load(str(path), handlers)
    assert handlers.get("it") is loaded
    with pytest.raises(HandlerExists):
        modules.load(str(path), handlers)
    assert modules.unload(str(path), handlers) == ("it",)
    path.write_text(HEAD + "int handle;\n")
    with pytest.raises(SourceRefused, match="clang does not accept"):
        modules.load(str(path), handlers)
    with pytest.raises(PathNotFound):
        modules.load("/nowhere/it.bpf.c", handlers)
    assert list(handlers) == []


def test_without_clang_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UnsupportedFeature, match="apt install clang libbpf-dev, or give an object file"):
        read_handler(ROOT / "samples" / "ignore-large.bpf.c")
