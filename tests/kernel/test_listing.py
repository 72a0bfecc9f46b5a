"""The shared list as files of the kernel's: iterators, which this needs and nothing else of BPF."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from children import as_nobody, fork, staying
from fanotify_fastpath import FastpathError, Registry, describe
from fanotify_fastpath._modules import readable
from fanotify_fastpath._modules.listing import Listing
from fanotify_fastpath.chain import Chain
from mounting import Mounter, give_up
from sources import write_handler


@pytest.fixture
def shared(mounts: Mounter, tmp_path: Path) -> Iterator[Listing]:
    """A list, and a bpf filesystem for it."""
    if os.geteuid() != 0:
        give_up("mounting a bpf filesystem needs root")
    point = mounts.mount(mounts.new_dir("bpf"), "-t", "bpf", "fp-bpf")
    point.chmod(0o755)
    listing = Listing(os.fsencode(mounts.new_dir("list")), os.fsencode(point / "fanotify_fastpath"))
    yield listing
    for name in listing.names():
        listing.unload(name, force=True)


@pytest.fixture
def mine(mounts: Mounter) -> str:
    return str(write_handler(mounts.new_dir("sources") / "mine.py"))


def files(shared: Listing, name: str = "mine") -> dict[str, str]:
    """What can be read about a handler."""
    path = Path(os.fsdecode(shared.readable), name)
    return {each.name: each.read_text() for each in path.iterdir()}


def stats(n_now: int, n_since_load: int) -> str:
    return f"attachments {n_now}\nattachments_since_load {n_since_load}\n"


def attach(shared: Listing, n: int = 1) -> Chain:
    chain = Chain(lambda: None, registry=Registry(shared))
    for _ in range(n):
        chain.attach("mine", {})
    return chain


def test_a_loaded_handler_can_be_read_by_everybody_until_it_is_unloaded(shared: Listing, mine: str) -> None:
    assert shared.load(mine).unreadable == ""
    expected = {**describe(shared.find("mine")), "stats": stats(0, 0)}
    assert files(shared) == expected
    assert as_nobody(lambda: files(shared)) == expected
    path = Path(os.fsdecode(shared.readable), "mine")
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o444}
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    shared.unload("mine")
    assert os.listdir(shared.readable) == []


def test_the_files_stay_when_the_loader_ends(shared: Listing, mine: str) -> None:
    code = (
        "import sys; from fanotify_fastpath._modules.listing import Listing; "
        "Listing(*map(str.encode, sys.argv[1:3])).load(sys.argv[3])"
    )
    arguments = [os.fsdecode(shared.directory), os.fsdecode(shared.readable), mine]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    assert files(shared)["desc"] == "skip all\n"


def test_stats_are_current_at_each_reading_also_of_plain_users_and_killed_processes(shared: Listing, mine: str) -> None:
    shared.load(mine)
    chain = attach(shared, 3)
    assert files(shared)["stats"] == stats(3, 3)
    with staying(lambda: attach(shared)):
        # the child was forked with this process's three open locks, which count once
        assert files(shared)["stats"] == stats(4, 4)
    assert files(shared)["stats"] == stats(3, 4)
    chain.detach()
    assert files(shared)["stats"] == stats(0, 4)

    def attach_and_read() -> str:
        chain = attach(shared)
        text = files(shared)["stats"]
        chain.detach()
        return text

    assert as_nobody(attach_and_read) == stats(1, 4)  # what plain users attach is not counted since the load


@pytest.mark.parametrize("name", ["n" * 63, "\udcff\udcfe", "with blank", "\u2603"])
def test_odd_names_can_be_read_too(shared: Listing, tmp_path: Path, name: str) -> None:
    assert shared.load(str(write_handler(tmp_path / "odd.py", name, "x" * 9000))).unreadable == ""
    assert files(shared, name)["desc"] == "x" * 9000 + "\n"


@pytest.mark.parametrize(("name", "desc"), [("a.b", "dot"), ("long", "x" * (1 << 15))])
def test_what_the_kernel_cannot_hold_is_listed_without_and_said(
    shared: Listing, tmp_path: Path, name: str, desc: str
) -> None:
    loaded = shared.load(str(write_handler(tmp_path / "odd.py", name, desc)))
    assert loaded.unreadable
    assert shared.names() == [name]
    assert readable.pinned(shared.readable) == []


def test_what_a_killed_loader_left_is_removed(shared: Listing, mine: str) -> None:
    shared.load(mine)
    left = Path(os.fsdecode(shared.readable), "left")
    left.mkdir()
    shared.unload("mine")
    assert not left.exists()


def test_a_loader_that_is_killed_just_before_the_end_leaves_no_handler(shared: Listing, mine: str) -> None:
    rename = os.rename

    def rename_or_die(old: bytes, new: bytes) -> None:
        if new.endswith(b"/mine"):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(old, new)

    child = fork()
    if child == 0:
        try:
            os.rename = rename_or_die  # type: ignore[assignment]
            shared.load(mine)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert readable.pinned(shared.readable) == [b"mine"]
    assert shared.names() == []
    shared.load(mine)
    assert shared.names() == ["mine"]
    assert files(shared)["stats"] == stats(0, 0)


def test_loading_twice_leaves_the_first(shared: Listing, mine: str) -> None:
    shared.load(mine)
    with pytest.raises(FastpathError):
        shared.load(mine)
    assert files(shared)["desc"] == "skip all\n"
