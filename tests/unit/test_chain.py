"""Attaching: every error of the RFC in its order, the ways that it gets wrong, and how a chain decides."""

import errno
import os
import struct
from collections.abc import Callable
from typing import Any

import pytest

from fanotify_fastpath import (
    SEND_TO_USERSPACE,
    SKIP_EVENT,
    Attachment,
    FastpathError,
    Handler,
    HandlerBusy,
    HandlerEvent,
    HandlerFlags,
    HandlerNotFound,
    HandlerRefused,
    InvalidArgument,
    NotPermitted,
    Registry,
    RootSet,
    Verdict,
    deny,
)
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.arguments import ARGS_MAX_BYTES, Argument, BytesList, Integer
from fanotify_fastpath.chain import ARGS_LAYOUT, ARGS_VERSION, Chain
from happened import Happened


class Recorder(Handler):
    name = "recorder"
    flags = HandlerFlags.UNPRIVILEGED
    arguments = (Argument("number", Integer(0, 100), "a number"),)
    verdict: Verdict = SEND_TO_USERSPACE
    refusal: Exception | None = None
    n_freed = 0

    def init(self, *, number: int, **_: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.number = number

    def handle(self, event: HandlerEvent) -> Verdict:
        return self.verdict

    def free(self) -> None:
        type(self).n_freed += 1


class Administrators(Recorder):
    name = "administrators"
    flags = HandlerFlags(0)


class Bare(Handler):
    """Without init and without arguments."""

    name = "bare"
    flags = HandlerFlags.UNPRIVILEGED

    def handle(self, event: HandlerEvent) -> Verdict:
        return SKIP_EVENT


EVENT = Happened()
BLOB = struct.pack("<q", 7)


@pytest.fixture
def privileges(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The capabilities that this process seems to have; empty it to be nobody."""
    held = {"CAP_SYS_ADMIN"}
    monkeypatch.setattr(capabilities, "has", lambda name: name in held)
    return held


@pytest.fixture
def chain(privileges: set[str]) -> Chain:
    handlers = Registry()
    for handler in (Recorder, Administrators, Bare):
        handlers.register(handler)
    return Chain(lambda: None, registry=handlers)


def pack(name: bytes = b"recorder", version: int = ARGS_VERSION, flags: int = 0, size: int = len(BLOB)) -> bytes:
    return ARGS_LAYOUT.pack(name, version, flags, 0, size)


def code_of(attach: Callable[[], Attachment]) -> str:
    """Name of the error number with which an attach fails."""
    with pytest.raises(FastpathError) as caught:
        attach()
    assert isinstance(caught.value, OSError)
    return errno.errorcode[caught.value.errno or 0]


def test_the_request_is_laid_out_as_in_the_rfc() -> None:
    assert ARGS_LAYOUT.size == 84
    assert ARGS_MAX_BYTES == 4096


@pytest.mark.parametrize("size", [0, 83, 85])
def test_1_a_request_that_cannot_be_read_is_efault(chain: Chain, size: int) -> None:
    assert code_of(lambda: chain.attach_packed(bytes(size), None)) == "EFAULT"


@pytest.mark.parametrize(
    "request_",
    [pack(version=0), pack(version=2), pack(flags=1), pack(flags=1 << 31), pack(size=ARGS_MAX_BYTES + 1)],
    ids=["version 0", "version 2", "flag 0", "flag 31", "too large"],
)
def test_2_an_unknown_version_or_flag_or_size_is_einval(chain: Chain, request_: bytes) -> None:
    assert code_of(lambda: chain.attach_packed(request_, BLOB)) == "EINVAL"


def test_3_a_group_that_has_a_handler_is_ebusy(chain: Chain) -> None:
    chain.attach_packed(pack(), BLOB)
    assert code_of(lambda: chain.attach_packed(pack(), BLOB)) == "EBUSY"


@pytest.mark.parametrize("name", [b"nobody", b"", b"Recorder", b"recorde"])
def test_5_an_unknown_name_is_enoent(chain: Chain, name: bytes) -> None:
    assert code_of(lambda: chain.attach_packed(pack(name), BLOB)) == "ENOENT"


def test_5_a_delisted_name_is_enoent(chain: Chain) -> None:
    chain._registry.unregister("recorder")
    assert code_of(lambda: chain.attach_packed(pack(), BLOB)) == "ENOENT"


def test_6_a_handler_for_administrators_is_eperm_for_others(chain: Chain, privileges: set[str]) -> None:
    privileges.clear()
    assert code_of(lambda: chain.attach_packed(pack(b"administrators"), BLOB)) == "EPERM"
    assert code_of(lambda: chain.attach("administrators", {"number": 1})) == "EPERM"
    chain.attach("recorder", {"number": 1})


@pytest.mark.parametrize("blob", [None, b"", BLOB[:-1]])
def test_7_arguments_that_cannot_be_read_are_efault(chain: Chain, blob: bytes | None) -> None:
    assert code_of(lambda: chain.attach_packed(pack(), blob)) == "EFAULT"


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EACCES, errno.ENODEV])
def test_8_a_refusal_of_init_is_its_own_errno(chain: Chain, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(Recorder, "refusal", OSError(code, "no"))
    with pytest.raises(HandlerRefused):
        chain.attach("recorder", {"number": 1})
    assert code_of(lambda: chain.attach_packed(pack(), BLOB)) == errno.errorcode[code]


@pytest.mark.parametrize("refusal", [ValueError("no"), TypeError("no")])
def test_8_a_refusal_without_errno_is_einval(chain: Chain, monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    monkeypatch.setattr(Recorder, "refusal", refusal)
    assert code_of(lambda: chain.attach("recorder", {"number": 1})) == "EINVAL"


def test_the_errors_come_in_the_order_of_the_rfc(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, privileges: set[str]
) -> None:
    """Everything is wrong at once; each time the first cause is mended, the next one answers."""
    monkeypatch.setattr(Administrators, "refusal", OSError(errno.EXDEV, "no"))
    privileges.clear()
    blocking = chain.attach("recorder", {"number": 1})
    steps: list[tuple[str, bytes, bytes | None, Callable[[], None]]] = [
        ("EFAULT", b"short", None, lambda: None),
        ("EINVAL", pack(b"nobody", version=9), None, lambda: None),
        ("EBUSY", pack(b"nobody"), None, lambda: chain.detach(blocking)),
        ("ENOENT", pack(b"nobody"), None, lambda: None),
        ("EPERM", pack(b"administrators"), None, lambda: privileges.add("CAP_SYS_ADMIN")),
        ("EFAULT", pack(b"administrators"), None, lambda: None),
        ("EXDEV", pack(b"administrators"), BLOB, lambda: monkeypatch.setattr(Administrators, "refusal", None)),
    ]
    for code, request, blob, mend in steps:
        assert code_of(lambda request=request, blob=blob: chain.attach_packed(request, blob)) == code  # type: ignore[misc]
        mend()
    assert chain.attach_packed(pack(b"administrators"), BLOB).name == "administrators"


def test_a_failed_attach_changes_nothing(chain: Chain) -> None:
    first = chain.attach("recorder", {"number": 1})
    users = chain._registry.users(Recorder)
    attempts: list[Callable[[], Attachment]] = [
        lambda: chain.attach("nobody", {}),
        lambda: chain.attach("recorder", {}),
        lambda: chain.attach("recorder", {"number": 101}),
        lambda: chain.attach("recorder", {"number": 1}, exclusive=True),
        lambda: chain.attach_packed(pack(), BLOB),
    ]
    for attempt in attempts:
        with pytest.raises(FastpathError):
            attempt()
        assert chain.attachments == (first,)
        assert chain._registry.users(Recorder) == users


def test_trap_a_name_without_an_end_is_einval_and_not_cut(chain: Chain) -> None:
    long = type("Long", (Recorder,), {"name": "n" * 63})
    chain._registry.register(long)
    assert code_of(lambda: chain.attach_packed(pack(b"n" * 64), BLOB)) == "EINVAL"
    assert chain.attach_packed(pack(b"n" * 63), BLOB).name == "n" * 63


def test_trap_what_follows_the_end_of_the_name_does_not_count(chain: Chain) -> None:
    assert chain.attach_packed(pack(b"recorder\0rubbish"), BLOB).name == "recorder"


def test_trap_an_empty_blob_is_einval(chain: Chain) -> None:
    assert code_of(lambda: chain.attach_packed(pack(size=0), b"")) == "EINVAL"
    assert code_of(lambda: chain.attach_packed(pack(size=0), None)) == "EINVAL"


@pytest.mark.parametrize("size", [1, 7, 9, 64, ARGS_MAX_BYTES])
def test_trap_a_size_other_than_the_declared_one_is_einval(chain: Chain, size: int) -> None:
    assert code_of(lambda: chain.attach_packed(pack(size=size), bytes(size))) == "EINVAL"


def test_trap_arguments_without_init_are_einval(chain: Chain) -> None:
    assert code_of(lambda: chain.attach_packed(pack(b"bare"), BLOB)) == "EINVAL"
    assert code_of(lambda: chain.attach("bare", {"number": 1})) == "EINVAL"
    assert chain.attach_packed(pack(b"bare", size=0), None).name == "bare"


def test_trap_attach_never_answers_eexist(chain: Chain) -> None:
    for _ in range(3):
        chain.attach("recorder", {"number": 1})
    assert len(chain.attachments) == 3


def test_arguments_reach_init_by_either_way(chain: Chain) -> None:
    by_keyword = chain.attach("recorder", {"number": 7})
    assert isinstance(by_keyword.handler, Recorder)
    assert by_keyword.handler.number == 7
    chain.detach()
    packed = chain.attach_packed(pack(), BLOB + b"what follows is not read")
    assert isinstance(packed.handler, Recorder)
    assert packed.handler.number == 7


def test_exclusive_keeps_others_out_and_is_kept_out(chain: Chain) -> None:
    first = chain.attach("recorder", {"number": 1})
    with pytest.raises(HandlerBusy):
        chain.attach("bare", {}, exclusive=True)
    chain.detach(first)
    chain.attach("bare", {}, exclusive=True)
    for exclusive in (True, False):
        with pytest.raises(HandlerBusy):
            chain.attach("recorder", {"number": 1}, exclusive=exclusive)


def test_busy_is_tested_before_the_name_is_looked_up(chain: Chain) -> None:
    chain.attach("bare", {}, exclusive=True)
    with pytest.raises(HandlerBusy):
        chain.attach("nobody", {})
    chain.detach()
    with pytest.raises(HandlerNotFound):
        chain.attach("nobody", {})


def test_a_private_handler_need_not_be_registered_but_its_rights_count(chain: Chain, privileges: set[str]) -> None:
    class Private(Administrators):
        name = "private"

    assert chain.attach(Private, {"number": 1}).name == "private"
    privileges.clear()
    with pytest.raises(NotPermitted):
        chain.attach(Private, {"number": 1})


def test_detach_never_fails_and_frees_once(chain: Chain) -> None:
    Recorder.n_freed = 0
    chain.detach()
    chain.detach("nobody")
    attachment = chain.attach("recorder", {"number": 1})
    chain.attach("bare", {})
    chain.detach(attachment)
    chain.detach(attachment)
    chain.detach("recorder")
    assert Recorder.n_freed == 1
    assert [a.name for a in chain.attachments] == ["bare"]
    chain.detach("bare")
    assert chain.attachments == ()


def attach_verdict(chain: Chain, verdict: Verdict, **options: bool) -> Attachment:
    attachment = chain.attach("recorder", {"number": 1}, **options)
    attachment.handler.verdict = verdict  # type: ignore[attr-defined]
    return attachment


def test_the_first_that_does_not_send_ends_the_chain(chain: Chain) -> None:
    sends = attach_verdict(chain, SEND_TO_USERSPACE)
    skips = attach_verdict(chain, SKIP_EVENT)
    denies = attach_verdict(chain, deny(errno.EIO))
    assert chain.judge(EVENT) == (SKIP_EVENT, skips, False)
    assert [a.n_seen for a in (sends, skips, denies)] == [1, 1, 0]
    chain.detach(skips)
    assert chain.judge(EVENT) == (deny(errno.EIO), denies, False)
    assert (denies.n_denied, skips.n_skipped) == (1, 1)
    chain.detach(denies)
    assert chain.judge(EVENT) == (SEND_TO_USERSPACE, None, False)


def test_one_attached_first_is_asked_first(chain: Chain) -> None:
    attach_verdict(chain, SKIP_EVENT)
    first = attach_verdict(chain, deny(), first=True)
    assert chain.judge(EVENT)[1] is first


def test_a_handler_that_raises_sends_is_counted_and_does_not_end_the_chain(chain: Chain) -> None:
    class Broken(Recorder):
        name = "broken"

        def handle(self, event: HandlerEvent) -> Verdict:
            raise RuntimeError("a bug")

    broken = chain.attach(Broken, {"number": 1})
    skips = attach_verdict(chain, SKIP_EVENT)
    assert chain.judge(EVENT) == (SKIP_EVENT, skips, True)
    chain.detach(skips)
    assert chain.judge(EVENT) == (SEND_TO_USERSPACE, None, True)
    assert broken.n_failed == 2
    assert isinstance(broken.error, RuntimeError)


def test_each_attach_and_detach_is_told_and_each_change_of_a_root_set() -> None:
    changes: list[str] = []
    chain = Chain(lambda: changes.append("changed"))
    roots = RootSet()

    class WithRoots(Bare):
        def init(self, **_: Any) -> None:
            self.roots = roots

    attachment = chain.attach(WithRoots, {})
    assert len(changes) == 1
    root = roots.add(os.path.dirname(__file__))
    assert len(changes) == 2
    chain.detach(attachment)
    assert len(changes) == 3
    roots.discard(root.key)
    assert len(changes) == 3


def test_a_handler_whose_change_is_refused_is_not_attached() -> None:
    given_back: list[str] = []
    changes = iter([NotPermitted("its roots may not be read"), None])

    def refuse_first() -> None:
        if (error := next(changes)) is not None:
            raise error

    chain = Chain(refuse_first)
    roots = RootSet()

    class WithRoots(Bare):
        def init(self, **_: Any) -> None:
            self.roots = roots

        def free(self) -> None:
            given_back.append("freed")

    with pytest.raises(NotPermitted, match="its roots may not be read"):
        chain.attach(WithRoots, {})
    assert (chain.attachments, given_back) == ((), ["freed"])
    roots.add(os.path.dirname(__file__))


def test_where_handlers_only_choose_among_what_is_given_they_need_no_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "has", lambda name: False)
    with pytest.raises(NotPermitted, match="for administrators"):
        Chain(lambda: None).attach(Administrators, {"number": 1})
    assert Chain(lambda: None, needs_right=False).attach(Administrators, {"number": 1}).name == "administrators"


def test_a_wrong_argument_says_which(chain: Chain) -> None:
    with pytest.raises(InvalidArgument, match=r"'number'.*101"):
        chain.attach("recorder", {"number": 101})
    with pytest.raises(InvalidArgument, match="'number' is missing: a number"):
        chain.attach("recorder", {})
    with pytest.raises(InvalidArgument, match="'numbre'"):
        chain.attach("recorder", {"number": 1, "numbre": 2})


def test_a_list_that_is_too_long_is_refused() -> None:
    class Lists(Bare):
        arguments = (Argument("words", BytesList(2, 4), "words"),)

    chain = Chain(lambda: None)
    for words in (["a"] * 3, ["toolong"], [""]):
        with pytest.raises(InvalidArgument):
            chain.attach(Lists, {"words": words})
    chain.attach(Lists, {"words": ["abcd", b"\xff"]})
