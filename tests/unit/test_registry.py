"""The registry: unique names, delisting, unloading, and what discovery says."""

import errno
import threading

import pytest

from fanotify_fastpath import (
    SEND_TO_USERSPACE,
    Handler,
    HandlerBusy,
    HandlerEvent,
    HandlerExists,
    HandlerFlags,
    HandlerNotFound,
    InvalidArgument,
    Registry,
    Verdict,
    describe,
    registry,
)
from fanotify_fastpath.arguments import ARGS_MAX_BYTES, Argument, BytesList, Integer
from fanotify_fastpath.chain import Chain


class Plain(Handler):
    name = "plain"
    flags = HandlerFlags.UNPRIVILEGED

    def handle(self, event: HandlerEvent) -> Verdict:
        return SEND_TO_USERSPACE


def named(name: str, **attributes: object) -> type[Handler]:
    return type("Named", (Plain,), {"name": name, **attributes})


def test_a_second_handler_of_the_same_name_is_refused_with_eexist() -> None:
    handlers = Registry()
    handlers.register(Plain)
    for other in (Plain, named("plain")):
        with pytest.raises(HandlerExists) as caught:
            handlers.register(other)
        assert caught.value.errno == errno.EEXIST
        assert isinstance(caught.value, FileExistsError)
    assert handlers.get("plain") is Plain


def test_a_name_is_free_again_after_unregister() -> None:
    handlers = Registry()
    handlers.register(Plain)
    handlers.unregister("plain")
    replacement = handlers.register(named("plain"))
    assert handlers.get("plain") is replacement


@pytest.mark.parametrize(
    "name",
    ["", "n" * 64, "\u2603" * 22, "a/b", "nul\0", ".hidden", "..", "\udcff" * 64],
    ids=lambda name: repr(name)[:12],
)
def test_a_name_that_cannot_be_is_refused_and_never_cut(name: str) -> None:
    handlers = Registry()
    with pytest.raises(InvalidArgument) as caught:
        handlers.register(named(name))
    assert caught.value.errno == errno.EINVAL
    assert list(handlers) == []


@pytest.mark.parametrize(
    "name", ["n" * 63, "\u2603" * 21, "\udcff\udcfe", "with blank", "x"], ids=lambda name: repr(name)[:12]
)
def test_63_bytes_are_a_name(name: str) -> None:
    handlers = Registry()
    handlers.register(named(name))
    assert name in handlers


@pytest.mark.parametrize("bit", [2, 4, 1 << 31])
def test_unknown_flags_are_refused(bit: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Registry().register(named("flags", flags=HandlerFlags(bit | 1)))
    assert caught.value.errno == errno.EINVAL
    assert hex(bit) in str(caught.value)


def test_more_arguments_than_the_maximum_are_refused() -> None:
    fits = Argument("blob", BytesList(1, ARGS_MAX_BYTES - 8), "as large as can be")
    Registry().register(named("fits", arguments=(fits,)))
    with pytest.raises(InvalidArgument):
        Registry().register(named("large", arguments=(fits, Argument("more", Integer(), "too much"))))


def test_what_a_verdict_depends_on_must_be_said() -> None:
    with pytest.raises(InvalidArgument):
        Registry().register(named("vague", depends=None))


def test_unknown_names_are_enoent_everywhere() -> None:
    handlers = Registry()
    for call in (handlers.get, handlers.unregister, handlers.unload):
        with pytest.raises(HandlerNotFound) as caught:
            call("nobody")
        assert caught.value.errno == errno.ENOENT
        assert isinstance(caught.value, FileNotFoundError)


def test_a_handler_in_use_cannot_be_unloaded() -> None:
    handlers = Registry()
    handlers.register(Plain)
    chains = [Chain(lambda: None, registry=handlers) for _ in range(2)]
    for chain in chains:
        chain.attach("plain", {})
    for chain in chains:
        with pytest.raises(HandlerBusy) as caught:
            handlers.unload("plain")
        assert caught.value.errno == errno.EBUSY
        assert "plain" in handlers
        chain.detach()
    handlers.unload("plain")
    assert "plain" not in handlers


def test_a_delisted_handler_keeps_serving_and_takes_no_new_group() -> None:
    handlers = Registry()
    handlers.register(Plain)
    old, new = (Chain(lambda: None, registry=handlers) for _ in range(2))
    attachment = old.attach("plain", {})
    handlers.unregister("plain")
    with pytest.raises(HandlerNotFound):
        new.attach("plain", {})
    assert old.attachments == (attachment,)
    assert handlers.users(Plain) == 1
    old.detach()
    assert handlers.users(Plain) == 0


def test_a_replacement_is_counted_apart_from_what_it_replaced() -> None:
    handlers = Registry()
    handlers.register(Plain)
    chain = Chain(lambda: None, registry=handlers)
    chain.attach("plain", {})
    handlers.unregister("plain")
    handlers.register(named("plain"))
    handlers.unload("plain")
    assert handlers.users(Plain) == 1


def test_iteration_is_by_name_and_safe_while_others_register() -> None:
    handlers = Registry()
    for name in ("c", "a", "b"):
        handlers.register(named(name))
    assert [handler.name for handler in handlers] == ["a", "b", "c"]
    failures: list[BaseException] = []

    def work(who: int) -> None:
        try:
            for n in range(200):
                handlers.register(named(f"{who}-{n}"))
                assert f"{who}-{n}" in [handler.name for handler in handlers]
                handlers.unload(f"{who}-{n}")
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [handler.name for handler in handlers] == ["a", "b", "c"]


def test_discovery_is_text_with_a_newline_each() -> None:
    assert describe(named("bare", flags=HandlerFlags(0))) == {"flags": "\n", "desc": "N/A\n", "init_args": "N/A\n"}
    full = named("full", desc="does it", arguments=(Argument("limit", Integer(0, 9), "how many"),))
    assert describe(full) == {
        "flags": "UNPRIVILEGED\n",
        "desc": "does it\n",
        "init_args": "limit: an integer from 0 to 9 (how many)\n",
    }


def test_the_handlers_of_the_package_are_registered() -> None:
    names = [handler.name for handler in registry]
    assert names == sorted(names)
    assert {"allow-deny-list", "ignore-prefix", "monitor-subtree"} <= set(names)
    for handler in registry:
        assert all(text.endswith("\n") for text in describe(handler).values())
    assert not registry.get("monitor-subtree").flags & HandlerFlags.UNPRIVILEGED
    assert registry.get("ignore-prefix").flags & HandlerFlags.UNPRIVILEGED
