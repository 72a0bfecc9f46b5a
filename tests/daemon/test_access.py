"""A user's rights are those that the user has, and the thread that asks has its own again afterwards."""

import ctypes
import itertools
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from children import in_child
from fanotify_fastpath._daemon import access
from fanotify_fastpath._daemon.access import Credentials, as_user, check_root, may_enter, may_read
from fanotify_fastpath.errors import FastpathError, InvalidArgument, NotPermitted
from mounting import Filesystem

from .sighting import ACL_NAME, GROUP, STRANGER, USER, acl_for, can_list

PERSON = Credentials(USER, USER, (GROUP,))
CAP_SETGID, CAP_SETUID = 1 << 6, 1 << 7
PR_SET_KEEPCAPS = 8
in_memory_too = pytest.mark.parametrize("filesystem", ["ext4", "tmpfs"], indirect=True)


def asked(path: Path, user: Credentials = PERSON, question: Callable[[int], bool] = may_enter) -> bool:
    """The answer for what is opened as the engine opens it."""
    fd = os.open(path, os.O_PATH)
    try:
        with as_user(user):
            return question(fd)
    finally:
        os.close(fd)


def ids(task: str = "thread-self") -> dict[str, str]:
    """User, groups and capabilities of a thread."""
    text = Path(f"/proc/{task}/status").read_text()
    return dict(re.findall(r"^(Uid|Gid|Groups|CapEff|CapPrm|CapInh):\s*(.*?)\s*$", text, re.MULTILINE))


def new_dir(path: Path, mode: int, uid: int = 0, gid: int = 0) -> Path:
    path.mkdir()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


@in_memory_too
def test_answers_are_those_that_the_user_gets(filesystem: Filesystem) -> None:
    owners = [(USER, 0), (0, USER), (0, GROUP), (0, 0)]
    modes = [0o700, 0o711, 0o744, 0o750, 0o755, 0o070, 0o010, 0o040, 0o007, 0o005, 0o000]
    answers = set()
    for n, ((uid, gid), mode) in enumerate(itertools.product(owners, modes)):
        path = new_dir(filesystem.dir / f"d{n}", mode, uid, gid)
        answer = asked(path)
        assert answer == can_list(PERSON, path, path), f"{mode:o} of {uid}:{gid}"
        answers.add(answer)
    assert answers == {False, True}


@in_memory_too
def test_access_control_lists_count(filesystem: Filesystem) -> None:
    private, public = (new_dir(filesystem.dir / name, mode) for name, mode in (("private", 0o700), ("public", 0o755)))
    os.setxattr(private, ACL_NAME, acl_for(USER, 5))
    os.setxattr(public, ACL_NAME, acl_for(USER, 1, group=5, others=5))
    assert [asked(private), asked(public)] == [True, False]
    assert [asked(path, Credentials(STRANGER, STRANGER)) for path in (private, public)] == [False, True]
    assert [can_list(PERSON, path, path) for path in (private, public)] == [True, False]


def test_every_supplementary_group_counts(filesystem: Filesystem) -> None:
    path = new_dir(filesystem.dir / "d", 0o750, 0, GROUP)
    many = tuple(range(20000, 20000 + 5000))
    assert asked(path, Credentials(USER, USER, (*many, GROUP)))
    assert not asked(path, Credentials(USER, USER, many))


def test_the_thread_has_its_own_rights_again(filesystem: Filesystem) -> None:
    before = ids()
    with as_user(PERSON):
        within = ids()
    assert within["Uid"].split()[3] == within["Gid"].split()[3] == str(USER)
    assert within["Groups"] == str(GROUP)
    assert ids() == before
    with pytest.raises(ZeroDivisionError), as_user(PERSON):
        _ = 1 // 0
    assert ids() == before
    with as_user(PERSON), as_user(Credentials(STRANGER, STRANGER)):
        assert ids()["Uid"].split()[3] == str(STRANGER)
    assert ids() == before


def test_no_other_thread_is_changed() -> None:
    reached, left = threading.Event(), threading.Event()
    thread_ids: list[int] = []

    def stay() -> None:
        thread_ids.append(threading.get_native_id())
        reached.set()
        left.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    try:
        reached.wait()
        before = ids(f"self/task/{thread_ids[0]}")
        with as_user(PERSON):
            within = ids(f"self/task/{thread_ids[0]}")
    finally:
        left.set()
        thread.join()
    assert within == before


def give_up_capabilities(caps: int) -> None:
    """In a child: never have these again."""
    numbers = access._numbers()
    low, permitted, _, *high = access._capabilities(numbers)
    access._set_capabilities(numbers, (low & ~caps, permitted & ~caps, 0, *high))


@pytest.mark.parametrize("missing", [CAP_SETGID, CAP_SETUID, CAP_SETGID | CAP_SETUID])
def test_without_the_right_to_switch_nothing_is_asked(filesystem: Filesystem, missing: int) -> None:
    path = new_dir(filesystem.dir / "d", 0o700)
    fd = os.open(path, os.O_RDONLY)

    def attempt() -> tuple[str, bool, bool]:
        give_up_capabilities(missing)
        before, was_within = ids(), False
        try:
            with as_user(PERSON):
                was_within = True
        except FastpathError as exc:
            return type(exc).__name__, was_within, ids() == before
        return "nothing", was_within, ids() == before

    try:
        assert in_child(attempt) == ("NotPermitted", False, True)
    finally:
        os.close(fd)


def test_a_daemon_that_is_not_root_asks_without_its_capabilities(filesystem: Filesystem) -> None:
    path = new_dir(filesystem.dir / "d", 0o700)
    fd = os.open(path, os.O_PATH)

    def attempt() -> tuple[bool, bool, bool]:
        numbers = access._numbers()
        ctypes.CDLL(None).prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)
        _, permitted, _, *high = access._capabilities(numbers)
        access._set_capabilities(numbers, (permitted, permitted, 0, *high))
        before = ids()
        with as_user(PERSON):
            answer = may_enter(fd)
        return may_enter(fd), answer, ids() == before

    try:
        assert in_child(attempt) == (True, False, True)
    finally:
        os.close(fd)


def test_root_may_everything(filesystem: Filesystem) -> None:
    assert asked(new_dir(filesystem.dir / "d", 0), Credentials(0, 0))


@pytest.fixture
def file(filesystem: Filesystem) -> Path:
    path = filesystem.dir / "file"
    path.write_bytes(b"content")
    return path


def refused(path: Path, flags: int, user: Credentials = PERSON) -> FastpathError | None:
    """Why what was opened so cannot be a root."""
    fd = os.open(path, flags)
    try:
        check_root(fd, user)
    except FastpathError as exc:
        return exc
    finally:
        os.close(fd)
    return None


@pytest.mark.parametrize(("mode", "is_allowed"), [(0o755, True), (0o711, False), (0o744, False), (0o700, False)])
def test_a_directory_is_a_root_for_whoever_may_list_it(filesystem: Filesystem, mode: int, is_allowed: bool) -> None:
    path = new_dir(filesystem.dir / "d", mode)
    refusal = refused(path, os.O_RDONLY)
    assert (refusal is None) == is_allowed
    assert refusal is None or (isinstance(refusal, NotPermitted) and "r-x" in str(refusal))
    assert refused(path, os.O_RDONLY, Credentials(0, 0)) is None


@pytest.mark.parametrize(("mode", "is_allowed"), [(0o644, True), (0o711, False), (0o600, False)])
def test_a_file_is_a_root_for_whoever_may_read_it(file: Path, mode: int, is_allowed: bool) -> None:
    file.chmod(mode)
    refusal = refused(file, os.O_RDWR)
    assert (refusal is None) == is_allowed
    assert refusal is None or (isinstance(refusal, NotPermitted) and "read" in str(refusal))
    assert asked(file, question=may_read) == is_allowed


def test_what_was_not_opened_for_reading_is_no_proof(filesystem: Filesystem, file: Path) -> None:
    for flags in (os.O_PATH, os.O_PATH | os.O_DIRECTORY):
        path = filesystem.dir if flags & os.O_DIRECTORY else file
        assert isinstance(refused(path, flags), InvalidArgument)
        assert isinstance(refused(path, flags, Credentials(0, 0)), InvalidArgument)
    assert isinstance(refused(file, os.O_WRONLY), InvalidArgument)


def test_neither_file_nor_directory_is_no_root(filesystem: Filesystem) -> None:
    os.mkfifo(filesystem.dir / "fifo")
    os.chmod(filesystem.dir / "fifo", 0o666)
    assert isinstance(refused(filesystem.dir / "fifo", os.O_RDONLY | os.O_NONBLOCK), InvalidArgument)
    assert isinstance(refused(Path("/dev/null"), os.O_RDONLY), InvalidArgument)
