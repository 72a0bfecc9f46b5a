"""Handlers in C, run on demand: they decide as a model in Python does, and what is no handler is refused."""

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from children import as_nobody
from fanotify_fastpath import NotPermitted, deny
from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath._programs.state_maps import StateInMap, move_in, move_out
from fanotify_fastpath.builtin import IgnorePrefix
from fanotify_fastpath.handlers import Depends, Handler, HandlerFlags
from fanotify_fastpath.handlers_in_c import read_handler
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict

from .conftest import FLAGS, INCLUDE

PROGRAMS = Path(__file__).parent / "programs"
SAMPLE = INCLUDE.parents[1] / "samples" / "ignore-large.bpf.c"
#: at most two users are remembered, see everything.bpf.c
N_REMEMBERED = 2
MOST = (1 << 64) - 1
NAMES = [b"", b"a", b"a.tm", b"a.tmp", b".tmp", b"x" * 251 + b".tmp", b"y" * 255, b"12345678", b"\xff" * 17, b"a\0"]
PATHS = [b"/bin/sh", b"/usr/bin/sh", b"/bin/bash", b"/" + b"p" * 254, b"/" + b"q" * 254]
FIELDS: dict[str, list[Any]] = {
    "name": [None, *NAMES],
    "dev": [None, 1, MOST],
    "inode": [None, 0, 77],
    "dir_inode": [None, 5],
    "size": [None, 0, 100, 101, (1 << 63) - 1],
    "mode": [0o100644],
    "owner_uid": [0],
    "owner_gid": [0],
    "n_links": [1],
    "uid": [None, 0, 7, (1 << 32) - 1, 1000],
    "gid": [None, 0],
    "comm": [None, b"", b"cat", b"cats", b"exactly fifteen"],
    "exe": [None, *PATHS],
    "cgroup_id": [None, 9],
    "depth": [None, 0, 3],
    "ancestors": [(), (5,), tuple(range(16))],
}


def event_of(**fields: Any) -> Any:
    given = dict.fromkeys(FIELDS) | {"ancestors": (), "is_inside": None} | fields
    return SimpleNamespace(mask=1, tgid=5, time_ns=7, inside=lambda roots: given["is_inside"], **given)


def random_event(choose: random.Random) -> Any:
    fields = {name: choose.choice(values) for name, values in FIELDS.items()}
    return event_of(is_inside=choose.choice([None, False, False, False, True]), **fields)


@dataclass
class Everything:
    """The model of ``everything.bpf.c``."""

    arguments: dict[str, Any]
    n_asked: int = 0
    by_user: dict[int, int] = field(default_factory=dict)

    def handle(self, event: Any) -> Verdict | None:
        """None: it fails."""
        self.n_asked += 1
        if event.is_inside:
            return deny()
        if self._is_left_out(event):
            return SKIP_EVENT
        if event.uid is None or event.gid is None:
            return SEND_TO_USERSPACE
        if event.uid not in self.arguments["users"]:
            self.by_user.pop(event.uid, None)
        elif event.uid not in self.by_user and len(self.by_user) == N_REMEMBERED:
            return None
        else:
            self.by_user[event.uid] = self.by_user.get(event.uid, 0) + 1
        is_small = event.size is not None and event.size <= self.arguments["limit"]
        return SKIP_EVENT if is_small else SEND_TO_USERSPACE

    def _is_left_out(self, event: Any) -> bool:
        return (
            (event.name is not None and event.name.endswith(self.arguments["suffixes"]))
            or (event.exe is not None and event.exe.endswith(self.arguments["programs"]))
            or event.comm in self.arguments["commands"]
        )


def started(kind: type[Handler], **arguments: Any) -> Handler:
    handler = kind()
    handler.init(**{each.name: each.kind.check(each.name, arguments[each.name]) for each in kind.arguments})
    return handler


def answer(handler: Handler, event: Any) -> Verdict | None:
    """What it says; None when it fails."""
    try:
        return handler.handle(event)
    except RuntimeError as exc:
        if str(exc) != f"handler {handler.name!r} answered FP_FAILED":
            raise
        return None


@pytest.fixture(scope="module")
def everything() -> type[Handler]:
    return read_handler(PROGRAMS / "everything.bpf.c")


ARGUMENTS: list[dict[str, Any]] = [
    {"limit": 100, "suffixes": (b".tmp",), "programs": (b"/bin/sh",), "commands": (b"cat",), "users": [7, 0, 1000]},
    {
        "limit": -1,
        "suffixes": (b"a\0", b"\xff" * 17, b"y" * 20, b"9", b"12345678"),
        "programs": PATHS[3:],
        "commands": (b"exactly fifteen", b"ca", b"cats"),
        "users": [(1 << 32) - 1],
    },
    {"limit": (1 << 63) - 1, "suffixes": (), "programs": (), "commands": (), "users": []},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["one", "many", "none"])
def test_it_decides_as_the_model_does(everything: type[Handler], arguments: dict[str, Any]) -> None:
    choose = random.Random(str(arguments))
    handler = started(everything, roots=RootSet(), **arguments)
    model = Everything({**arguments, **{name: tuple(arguments[name]) for name in ("suffixes", "programs", "commands")}})
    said = set()
    for _ in range(1000):
        event = random_event(choose)
        expected = model.handle(event)
        assert answer(handler, event) == expected, event
        said.add(expected)
    state: Any = handler
    assert (state.n_asked.value, dict(state.by_user.items())) == (model.n_asked, model.by_user)
    handler.free()
    assert (state.n_asked.value, dict(state.by_user.items())) == (model.n_asked, model.by_user)
    assert {SEND_TO_USERSPACE, SKIP_EVENT, deny()} <= said
    assert (None in said) == (len(arguments["users"]) > N_REMEMBERED)


@pytest.mark.parametrize("n", [0, 1, 60])
def test_ignore_prefix_in_c_decides_as_the_one_in_python(n: int) -> None:
    choose = random.Random(n)
    prefixes = tuple(choose.choice(NAMES[1:])[: choose.randint(1, 60)] for _ in range(n))
    in_c, in_python = (
        started(kind, prefixes=prefixes) for kind in (read_handler(PROGRAMS / "ignore_prefix.bpf.c"), IgnorePrefix)
    )
    for name in [None, *NAMES, *prefixes, *(prefix + b"x" for prefix in prefixes)]:
        assert in_c.handle(event_of(name=name)) == in_python.handle(event_of(name=name)), name
    in_c.free()


def test_it_says_what_its_lines_say(everything: type[Handler]) -> None:
    assert (everything.name, everything.desc) == ("everything", "one of everything")
    assert everything.flags == HandlerFlags.UNPRIVILEGED
    assert everything.depends == Depends.ALL & ~Depends.MASK
    assert [each.name for each in everything.arguments] == [
        "limit",
        "suffixes",
        "programs",
        "commands",
        "users",
        "roots",
    ]


HEADERS = ("-idirafter", "/usr/include/x86_64-linux-gnu", "-idirafter", "/usr/include/aarch64-linux-gnu")


@pytest.mark.parametrize(("suffix", "flags"), [(".o", ()), (".bc", ("-emit-llvm",))])
def test_what_was_compiled_before_is_the_same_handler(tmp_path: Path, suffix: str, flags: tuple[str, ...]) -> None:
    made = tmp_path / f"made{suffix}"
    subprocess.run(["clang", *FLAGS, "-I", INCLUDE, *HEADERS, *flags, "-c", SAMPLE, "-o", made], check=True)
    handler = started(read_handler(made), limit=10, prefixes=["keep"])
    for size, name, expected in (
        (10, b"large", SEND_TO_USERSPACE),
        (11, b"large", SKIP_EVENT),
        (11, b"keep.me", SEND_TO_USERSPACE),
        (None, b"large", SEND_TO_USERSPACE),
    ):
        event = event_of(size=size, name=name, mode=0, owner_uid=0, owner_gid=0, n_links=1)
        assert handler.handle(event) == expected
    state: Any = handler
    assert state.n_large.value == 1
    handler.free()


def test_what_it_remembers_can_be_kept_by_an_engine_and_is_used_there(everything: type[Handler]) -> None:
    handler = started(everything, roots=RootSet(), **ARGUMENTS[0])
    state: Any = handler
    handler.handle(event_of(uid=7, gid=0))
    for name, declared in {"by_user": (8, 9), "n_asked": (4, 1)}.items():
        kind = MapType.HASH if name == "by_user" else MapType.ARRAY
        move_in(handler, name, Map.create(kind, name, declared[0], 8, declared[1]), is_new=True)
    handler.handle(event_of(uid=7, gid=0))
    assert isinstance(state.by_user, StateInMap)
    assert (state.n_asked.value, state.by_user.items()) == (2, [(7, 2)])
    for name in ("by_user", "n_asked"):
        move_out(handler, name)
    handler.handle(event_of(uid=7, gid=0))
    assert (state.n_asked.value, state.by_user.items()) == (3, [(7, 3)])
    handler.free()
    assert (state.n_asked.value, state.by_user.items()) == (3, [(7, 3)])
    with pytest.raises(OSError, match="was detached"):
        handler.handle(event_of())


OTHER_ORDER = """
#include <handler.bpf.h>

HANDLER("other-order", "arguments that lie in another order than they are declared");
HANDLER_LINE("argument two integer second");
HANDLER_LINE("argument one integer first");
const volatile struct { __s64 value; } one SEC(".rodata.attributes") = {}, two SEC(".rodata.attributes") = {};

int handle(struct fp_handler_event *event)
{
	return one.value == 1 && two.value == 2 ? FP_SKIP_EVENT : FP_SEND_TO_USERSPACE;
}
"""


def test_arguments_are_found_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "it.c").write_text(OTHER_ORDER)
    handler = started(read_handler(tmp_path / "it.c"), one=1, two=2)
    assert handler.handle(event_of()) == SKIP_EVENT
    handler.free()


def test_threads_take_turns(everything: type[Handler]) -> None:
    handler = started(everything, roots=RootSet(), **ARGUMENTS[0])
    state: Any = handler

    def ask(uid: int) -> set[Verdict]:
        return {handler.handle(event_of(uid=uid, gid=0, name=b"x.tmp" if uid else None)) for _ in range(200)}

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, [0, 7, 0, 7])) == [{SEND_TO_USERSPACE}, {SKIP_EVENT}] * 2
    assert (state.n_asked.value, state.by_user.items()) == (800, [(0, 400)])
    handler.free()


def test_each_attach_remembers_by_itself(everything: type[Handler]) -> None:
    handlers: list[Any] = [started(everything, roots=RootSet(), **ARGUMENTS[0]) for _ in range(2)]
    handlers[0].handle(event_of())
    assert [each.n_asked.value for each in handlers] == [1, 0]
    for each in handlers:
        each.free()


def test_without_privilege_the_attach_says_what_is_missing(everything: type[Handler]) -> None:
    def attach() -> str:
        try:
            started(everything, roots=RootSet(), **ARGUMENTS[0])
        except NotPermitted as exc:
            return str(exc)
        return ""

    assert "CAP_BPF and CAP_PERFMON" in as_nobody(attach)
