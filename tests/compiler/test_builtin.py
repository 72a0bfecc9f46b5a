"""The handlers that come with the package say the same compiled as in Python."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fanotify_fastpath.builtin import BUILTIN, AllowDenyList, IgnorePrefix, MonitorSubtree
from fanotify_fastpath.compiling import compile_handler, read_frame
from fanotify_fastpath.errors import UnsupportedFeature
from fanotify_fastpath.handlers import Handler, HandlerEvent
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.verdict import SKIP_EVENT, Verdict

from .native import check

NAMES = [b"", b"a", b"ab", b"abc", b"core", b"core.1", b"x.tmp", b".tmp", b"\xff\xfe", b"12345678", b"123456789" * 8]


class Skipping(Handler):
    """Does not come with the package."""

    name = "skipping"

    def handle(self, event: HandlerEvent) -> Verdict:
        return SKIP_EVENT


def names() -> list[dict[str, Any]]:
    return [{"name": name} for name in NAMES] + [{}]


@pytest.mark.parametrize(
    "prefixes",
    [(), (b"a",), (b"abc", b"core."), (b"12345678",), (b"123456789",), (b"123456789" * 6 + b"1",), (b"\xff",)],
)
def test_ignore_prefix(prefixes: tuple[bytes, ...]) -> None:
    said = check(IgnorePrefix, *names(), prefixes=prefixes)
    assert said[-1] == 1
    assert (0 in said) == bool(prefixes)


def lists(**given: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"names": (), "suffixes": (), "globs": (), "uids": frozenset(), "executables": ()}
    found = {**empty, "allow": False, **given}
    found["needs_name"] = bool(found["names"] or found["suffixes"] or found["globs"])
    return found


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {"names": (b"core", b"123456789" * 6)},
        {"suffixes": (b".tmp", b"9")},
        {"globs": (b"*.tmp", b"a?", b"[a-c]*", b"*1*", b"core.[!2]", b"[")},
        {"uids": frozenset({0, 33, 4294967294})},
        {"executables": (b"/bin/sh", b"/usr/bin/" + b"x" * 200)},
        {"names": (b"core",), "uids": frozenset({5}), "executables": (b"/bin/sh",)},
    ],
)
def test_allow_deny_list(allow: bool, given: dict[str, Any]) -> None:
    events = [
        {**one, **who, "mask": mask}
        for one in names()
        for who in (
            {},
            {"uid": 33, "exe": b"/bin/sh"},
            {"uid": 34, "exe": b"/bin/shx"},
            {"exe": b"/usr/bin/" + b"x" * 200},
        )
        for mask in (Mask.OPEN, Mask.OPEN_PERM)
    ]
    said = check(AllowDenyList, *events, **lists(allow=allow, **given))
    assert {0, 1, -1} >= set(said) > {1}


@pytest.mark.parametrize("inside", [None, {}, {3: True}, {200: True}])
@pytest.mark.parametrize("slot", [3, 200, None])
@pytest.mark.parametrize("block", [False, True])
def test_monitor_subtree(inside: dict[int, bool] | None, slot: int | None, block: bool) -> None:
    events = [{"mask": Mask.OPEN}, {"mask": Mask.OPEN_PERM}]
    check(MonitorSubtree, *events, inside=inside, roots=SimpleNamespace(slot=slot), block=block)


@pytest.mark.parametrize("handler", BUILTIN, ids=lambda handler: handler.name)
def test_what_comes_with_the_package_needs_no_llvm(handler: type[Handler], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert compile_handler(handler, read_frame()).object_file.startswith(b"\x7fELF")
    with pytest.raises(UnsupportedFeature, match="needs llvmlite"):
        compile_handler(Skipping, read_frame())
