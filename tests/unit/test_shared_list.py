"""The list that all processes share: what is in it, who may change it, and who is counted as using it."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from children import in_child, staying
from fanotify_fastpath import (
    HandlerBusy,
    HandlerExists,
    HandlerNotFound,
    InvalidArgument,
    NotPermitted,
    PathNotFound,
    Registry,
    SourceRefused,
    describe,
    registry,
)
from fanotify_fastpath._modules import locks
from fanotify_fastpath._modules.listing import Listing
from fanotify_fastpath.chain import Chain
from sources import NAMES, OTHERS, installed, write_handler


@pytest.fixture
def mine(tmp_path: Path) -> str:
    return str(write_handler(tmp_path / "mine.py"))


@pytest.fixture
def others(tmp_path: Path) -> str:
    """The handlers of others, where only this user may write."""
    path = tmp_path / "others.py"
    path.write_text(OTHERS.read_text())
    return str(path)


def chain_of(shared: Listing) -> Chain:
    return Chain(lambda: None, registry=Registry(shared))


def files(shared: Listing, name: str = "") -> set[str]:
    return {os.fsdecode(each) for each in os.listdir(os.path.join(shared.directory, os.fsencode(name)))}


def test_nothing_is_listed_before_something_is_loaded(own_list: Listing) -> None:
    assert own_list.names() == []
    assert list(own_list.entries()) == []
    with pytest.raises(HandlerNotFound):
        own_list.find("mine")
    with pytest.raises(HandlerNotFound):
        own_list.unload("mine")
    assert not os.path.exists(own_list.directory)


def test_a_loaded_handler_has_readable_files_with_the_exact_texts(own_list: Listing, others: str) -> None:
    assert own_list.load(others).names == NAMES
    for name in NAMES:
        path = Path(os.fsdecode(own_list.directory), name)
        texts = describe(own_list.find(name))
        assert {text: (path / text).read_text() for text in texts} == texts
        assert (path / "stats").read_text() == "attachments 0\nattachments_since_load 0\n"
        assert {each for each in files(own_list, name) if not each.startswith(".")} == {*texts, "stats"}
        assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o644}
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert own_list.unload(others) == tuple(sorted(NAMES))
    assert files(own_list) == {".lock"}


def test_the_umask_of_the_loader_takes_nothing_away(own_list: Listing, mine: str) -> None:
    before = os.umask(0o077)
    try:
        own_list.load(mine)
    finally:
        os.umask(before)
    path = Path(os.fsdecode(own_list.directory))
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert stat.S_IMODE((path / "mine" / "desc").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["n" * 63, "\u2603" * 21, "\udcff\udcfe", "with blank", "a\nb", "-"])
def test_every_name_that_a_handler_can_have_is_listed(own_list: Listing, tmp_path: Path, name: str) -> None:
    source = write_handler(tmp_path / "odd.py", name)
    own_list.load(str(source))
    assert own_list.names() == [name]
    assert own_list.find(name).name == name
    assert own_list.unload(name) == (name,)
    assert own_list.names() == []


def test_what_this_process_has_comes_before_what_is_shared(own_list: Listing, mine: str, tmp_path: Path) -> None:
    own_list.load(mine)
    handlers = Registry(own_list)
    assert handlers.get("mine") is own_list.find("mine")
    own = handlers.register(type("Own", (handlers.get("mine"),), {"name": "mine"}))
    assert handlers.get("mine") is own


def test_other_processes_find_it_by_name(own_list: Listing, mine: str) -> None:
    in_child(lambda: own_list.load(mine))
    assert registry.get("mine").desc == "skip all"
    with pytest.raises(HandlerExists):
        own_list.load(mine)


@pytest.mark.parametrize("taken", ["in the list", "in every process"])
def test_one_name_that_is_taken_loads_nothing(own_list: Listing, others: str, tmp_path: Path, taken: str) -> None:
    if taken == "in the list":
        own_list.load(str(write_handler(tmp_path / "first.py", NAMES[1])))
    before = own_list.names()
    with pytest.raises(HandlerExists) as caught:
        own_list.load(others, taken=NAMES[1:])
    assert caught.value.errno == errno.EEXIST
    assert own_list.names() == before


def test_two_handlers_of_one_name_in_a_source_are_refused(own_list: Listing, mine: str) -> None:
    with open(mine, "a") as file:
        file.write("\nclass Other(Mine):\n    pass\n")
    with pytest.raises(HandlerExists):
        own_list.load(mine)
    assert own_list.names() == []


def test_of_many_that_load_one_name_at_once_one_succeeds(own_list: Listing, mine: str) -> None:
    start = threading.Barrier(8)
    results: list[str] = []

    def load() -> str:
        try:
            return own_list.load(mine).names[0]
        except HandlerExists:
            return "exists"

    def work() -> None:
        start.wait()
        results.append(in_child(load))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["exists"] * 7 + ["mine"]
    assert own_list.names() == ["mine"]


def test_what_a_killed_loader_left_half_done_is_no_handler_and_is_removed(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    own_list.unload("mine")
    half = Path(os.fsdecode(own_list.directory), ".new-mine")
    half.mkdir()
    (half / "flags").write_text("\n")
    assert own_list.names() == []
    own_list.load(mine)
    assert own_list.names() == ["mine"]
    assert not half.exists()


@pytest.mark.parametrize("fault", ["everybody", "directory", "owner"])
def test_code_that_others_could_change_is_neither_loaded_nor_attached(
    own_list: Listing, tmp_path: Path, fault: str
) -> None:
    if fault == "owner" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    (tmp_path / "place").mkdir()
    path = write_handler(tmp_path / "place" / "mine.py")
    own_list.load(str(path))
    spoil: dict[str, Callable[[], None]] = {
        "everybody": lambda: path.chmod(0o646),
        "directory": lambda: path.parent.chmod(0o777),
        "owner": lambda: os.chown(path, 12345, 12345),
    }
    spoil[fault]()
    with pytest.raises(NotPermitted, match=r"user 12345 owns it|everybody may write to it"):
        chain_of(Listing(own_list.directory, own_list.readable, os.geteuid())).attach("mine", {})
    own_list.unload("mine")
    with pytest.raises(NotPermitted, match="runs with the rights of everyone who attaches it"):
        own_list.load(str(path))
    assert own_list.names() == []


def test_only_the_owner_of_the_list_changes_it(own_list: Listing, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own_list.load(mine)
    monkeypatch.setattr(own_list, "owner_uid", os.geteuid() + 1)
    for change in (lambda: own_list.load(mine), lambda: own_list.unload("mine")):
        with pytest.raises(NotPermitted, match=rf"that takes user {os.geteuid() + 1}, and this is user {os.geteuid()}"):
            change()
    assert own_list.names() == ["mine"]


@pytest.mark.parametrize(
    ("text", "error"),
    [("1 / 0", SourceRefused), ("", SourceRefused), (None, PathNotFound)],
    ids=["raises", "empty", "-"],
)
def test_a_source_that_does_not_work_is_not_listed(
    own_list: Listing, tmp_path: Path, text: str | None, error: type[Exception]
) -> None:
    if text is not None:
        (tmp_path / "bad.py").write_text(text)
    with pytest.raises(error):
        own_list.load(str(tmp_path / "bad.py"))
    assert own_list.names() == []


def test_a_declaration_that_is_not_right_is_not_listed(own_list: Listing, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument):
        own_list.load(str(write_handler(tmp_path / "long.py", "n" * 64)))
    assert own_list.names() == []


def test_a_handler_in_use_by_another_process_is_ebusy_until_that_is_killed(own_list: Listing, others: str) -> None:
    own_list.load(others)

    def attach() -> Chain:
        chain = chain_of(own_list)
        chain.attach("others-ignore-prefix", {"prefixes": ["a"]})
        return chain

    with staying(attach):
        entry = own_list.entry("others-ignore-prefix")
        assert (entry.count(), entry.stats()) == (1, {"attachments": 1, "attachments_since_load": 1})
        for what in ("others-ignore-prefix", others):
            with pytest.raises(HandlerBusy) as caught:
                own_list.unload(what)
            assert caught.value.errno == errno.EBUSY
        assert own_list.names() == sorted(NAMES)
    assert entry.count() == 0
    assert own_list.unload(others) == tuple(sorted(NAMES))


def test_by_force_it_is_delisted_and_serves_on(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    chain = chain_of(own_list)
    attachment = chain.attach("mine", {})
    assert own_list.unload("mine", force=True) == ("mine",)
    with pytest.raises(HandlerNotFound) as caught:
        chain.attach("mine", {})
    assert caught.value.errno == errno.ENOENT
    assert chain.attachments == (attachment,)
    own_list.load(mine)
    assert own_list.entry("mine").count() == 0
    chain.attach("mine", {})
    assert own_list.entry("mine").count() == 1
    chain.detach(attachment)
    assert own_list.entry("mine").count() == 1
    chain.detach()
    assert own_list.entry("mine").count() == 0


def test_attaches_are_counted_now_and_since_the_load(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    chain, entry = chain_of(own_list), own_list.entry("mine")
    for n in range(1, 4):
        chain.attach("mine", {})
        assert entry.stats() == {"attachments": n, "attachments_since_load": n}
    chain.detach()
    assert entry.stats() == {"attachments": 0, "attachments_since_load": 3}


def test_a_process_that_was_forked_keeps_nothing_in_use(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    chain = chain_of(own_list)
    chain.attach("mine", {})
    with staying(lambda: None):
        assert own_list.entry("mine").count() == 1
        chain.detach()
        assert own_list.unload("mine") == ("mine",)


def test_a_failed_attach_is_not_counted(own_list: Listing, others: str) -> None:
    own_list.load(others)
    with pytest.raises(InvalidArgument):
        chain_of(own_list).attach("others-ignore-prefix", {})
    assert own_list.entry("others-ignore-prefix").count() == 0
    own_list.unload(others)


def test_a_handler_that_is_being_unloaded_cannot_be_attached(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    chain = chain_of(own_list)
    with own_list.entry("mine").open_lock(writable=True) as lock:
        assert locks.take(lock.fileno())
        with pytest.raises(HandlerNotFound):
            chain.attach("mine", {})
    chain.attach("mine", {})
    chain.detach()


def test_a_handler_whose_source_is_gone_cannot_be_attached_and_serves_on(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    chain = chain_of(own_list)
    attachment = chain.attach("mine", {})
    os.unlink(mine)
    with pytest.raises(HandlerNotFound, match="is gone"):
        chain.attach("mine", {})
    assert chain.attachments == (attachment,)
    chain.detach()
    assert own_list.unload("mine") == ("mine",)


def test_a_handler_that_declares_something_else_now_must_be_loaded_again(own_list: Listing, mine: str) -> None:
    own_list.load(mine)
    write_handler(Path(mine), desc="something else")
    with pytest.raises(HandlerNotFound, match="unload it and load it again"):
        Listing(own_list.directory, own_list.readable, own_list.owner_uid).find("mine")


def test_a_package_is_loaded_for_all(own_list: Listing, tmp_path: Path) -> None:
    with installed(tmp_path / "site", "some-handlers", "some_handlers", "all = some_handlers.handlers"):
        assert own_list.load("Some_Handlers").names == NAMES
        assert own_list.entry(NAMES[0]).record.source == "some-handlers"
        chain = chain_of(own_list)
        chain.attach("others-ignore-prefix", {"prefixes": ["a"]})
        chain.detach()
    with pytest.raises(HandlerNotFound, match="is gone"):
        Listing(own_list.directory, own_list.readable, own_list.owner_uid).find(NAMES[0])
    assert own_list.unload("some-handlers") == tuple(sorted(NAMES))


def test_without_a_bpf_filesystem_it_is_said(own_list: Listing, mine: str) -> None:
    assert "no bpf filesystem" in own_list.load(mine).unreadable
