"""Which engine serves a group, and what is found out before much is loaded; no program is attached."""

import errno

import pytest

from fanotify_fastpath._bpf.trying import FENTRY, ProgramType, is_forbidden, refusal
from fanotify_fastpath._engines import choose
from fanotify_fastpath._engines.kernel import ways
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.errors import KernelRefused, NotPermitted, UnsupportedFeature


def engine_for(name: str) -> str:
    engine = choose.make_engine(name, include_self=False, submounts="skip", max_queued=1, with_tid=False, merge=True)
    engine.close()
    return engine.name


@pytest.fixture
def no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator, where no way works."""
    monkeypatch.setattr(capabilities, "has", lambda name: True)
    monkeypatch.setattr(ways, "obstacle", lambda way: f"not {way.program}")


def test_the_kernel_engine_is_refused_with_a_reason_for_each_way(no_way: None) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        engine_for("kernel")
    for way in ways.WAYS:
        assert f"{way.name}: not {way.program}" in str(caught.value)


def test_without_capabilities_it_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "has", lambda name: False)
    with pytest.raises(NotPermitted, match="CAP_BPF"):
        engine_for("kernel")


def test_auto_takes_the_next_where_the_better_does_not_work(no_way: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "AUTO", ("kernel", "fanotify"))
    assert engine_for("auto") == "fanotify"


@pytest.mark.parametrize("error", [UnsupportedFeature("no"), NotPermitted("no", errno.EPERM), KernelRefused("no", 24)])
def test_auto_takes_the_next_when_the_better_is_refused_late(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(choose, "_kernel_engine", refuse)
    monkeypatch.setattr(choose, "AUTO", ("kernel", "fanotify"))
    assert engine_for("auto") == "fanotify"
    with pytest.raises(type(error)):
        engine_for("kernel")


def test_what_the_kernel_says_of_a_type_is_passed_on() -> None:
    """One that loads without any right does so; one that names no function is taken nowhere."""
    if refusal(ProgramType.TRACEPOINT) is None:
        pytest.skip("the number of bpf() on this machine is not known")
    assert refusal(ProgramType.TRACING, FENTRY) in (errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EACCES)
    assert refusal(ProgramType.KPROBE) in (0, errno.EPERM, errno.ENOSYS)
    assert is_forbidden(ProgramType.KPROBE) == (refusal(ProgramType.KPROBE) == errno.EPERM)


@pytest.mark.parametrize(
    ("forbidden", "has_kprobes", "expected"),
    [
        ((), True, (None, None)),
        ((ProgramType.TRACING,), True, ("trampolines", None)),
        ((ProgramType.TRACING, ProgramType.KPROBE), True, ("trampolines", "kprobes are not allowed")),
        ((), False, (None, "no kprobes")),
    ],
)
def test_each_way_has_its_obstacle(
    monkeypatch: pytest.MonkeyPatch,
    forbidden: tuple[ProgramType, ...],
    has_kprobes: bool,
    expected: tuple[str | None, ...],
) -> None:
    monkeypatch.setattr(ways, "is_forbidden", lambda kind, attach_type: kind in forbidden)
    monkeypatch.setattr(ways, "_KPROBES", ("/",) if has_kprobes else ())
    for way, words in zip(ways.WAYS, expected, strict=True):
        found = ways.obstacle.__wrapped__(way)
        assert (words is None) == (found is None)
        assert words is None or words in (found or "")
