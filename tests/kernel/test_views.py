"""Groups that are held for others: the ring has what its reader could have found out, and nothing else."""

import contextlib
import ctypes
import errno
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from children import fork, in_child, wait_for
from conftest import everywhere
from fanotify_fastpath import Group, Mask
from fanotify_fastpath._bpf._abi import FpKind, FpShownFlag
from fanotify_fastpath._bpf.ring import RingReader
from fanotify_fastpath._engines.kernel.viewers import View
from fanotify_fastpath.errors import UnsupportedFilesystem
from mounting import Filesystem

from .viewed import (
    GROUP,
    OTHER_GROUP,
    OTHER_USER,
    RING_BYTES,
    USER,
    Held,
    as_ids,
    open_way,
    touch,
)

pytestmark = pytest.mark.kernel_engine

UNKNOWN = 2**32 - 1
LONG_S = 120
#: include/uapi/linux/posix_acl_xattr.h
ACL_VERSION, ID_NONE = 2, UNKNOWN


@pytest.fixture
def top(filesystem: Filesystem) -> Path:
    """A directory that everybody may list, below one that only root may."""
    filesystem.dir.chmod(0o700)
    made = filesystem.dir / "top"
    made.mkdir()
    made.chmod(0o755)
    return made


@pytest.fixture
def held(top: Path) -> Iterator[Held]:
    with Held({5: top}) as made:
        yield made


def directory(path: Path, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
    """Make a directory."""
    path.mkdir()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def set_acl(path: Path, *entries: tuple[int, int, int]) -> None:
    """Give it an access control list: entries of tag, permissions, id."""
    packed = b"".join(
        tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + number.to_bytes(4, "little")
        for tag, permissions, number in entries
    )
    os.setxattr(path, "system.posix_acl_access", ACL_VERSION.to_bytes(4, "little") + packed)


def test_an_event_where_the_user_may_look_is_told_below_the_root(held: Held, top: Path) -> None:
    deeper = directory(directory(top / "a") / "b")
    held.records()
    touch(deeper / "file")
    (created, *_) = held.records()
    assert created.mask == Mask.CREATE
    assert created.path == (5, b"/a/b/file")
    assert int.from_bytes(created.fields.inside, "little") == 1 << 7


def test_nothing_above_the_root_is_told(held: Held, top: Path) -> None:
    touch(top / "file")
    (top / "file").rename(top / "other")
    records = held.records()
    assert records
    for record in records:
        for _, path in (record.path, record.old_path):
            assert top.name.encode() not in path
            assert top.parent.name.encode() not in path


def test_what_is_told_of_the_root_itself_has_its_number_and_no_path(held: Held, top: Path) -> None:
    os.listdir(top)
    top.chmod(0o711)
    top.chmod(0o755)
    assert {record.path for record in held.records()} == {(5, b"")}


def test_what_happens_in_a_private_directory_is_withheld(held: Held, top: Path) -> None:
    private = directory(top / "private", 0o700)
    inner = directory(private / "inner", 0o777)
    held.records()
    before = held.engine.view_counters.n_withheld
    touch(private / "secret")
    touch(inner / "secret")
    assert held.records() == []
    assert held.engine.view_counters.n_withheld > before


@pytest.mark.parametrize("mode", [0o744, 0o711, 0o700])
def test_listing_and_searching_are_both_needed(held: Held, top: Path, mode: int) -> None:
    inner = directory(top / "inner", mode)
    held.records()
    touch(inner / "file")
    assert held.records() == []


def test_the_name_of_a_private_directory_is_told_where_it_can_be_listed(held: Held, top: Path) -> None:
    directory(top / "private", 0o700)
    os.listdir(top / "private")
    assert held.paths() == [b"/private"]


def test_chmod_is_heeded_at_once_both_ways(held: Held, top: Path) -> None:
    inner = directory(top / "inner")
    for name, mode, is_told in (("a", 0o700, False), ("b", 0o755, True), ("c", 0o750, False), ("d", 0o755, True)):
        inner.chmod(mode)
        held.records()
        touch(inner / name)
        assert bool(held.records()) == is_told, name


def test_a_merged_event_does_not_come_because_of_one_that_was_withheld(held: Held, top: Path) -> None:
    inner = directory(top / "inner", 0o700)
    touch(inner / "file")
    held.records()
    touch(inner / "file")
    assert held.records() == []
    inner.chmod(0o755)
    held.records()
    touch(inner / "file")
    assert b"/inner/file" in held.paths()


def test_equal_events_are_merged_while_one_waits(held: Held, top: Path) -> None:
    touch(top / "file")
    held.records()
    with (top / "file").open("ab", buffering=0) as file:
        for _ in range(10):
            file.write(b"x")
    assert [record.mask for record in held.records()].count(Mask.MODIFY) == 1


def test_the_owner_class_counts_before_the_group_and_the_others(held: Held, top: Path) -> None:
    mine = directory(top / "mine", 0o700, USER)
    not_mine = directory(top / "not_mine", 0o077, USER)
    held.records()
    touch(mine / "a")
    touch(not_mine / "b")
    assert held.paths() == [b"/mine/a"]


def test_supplementary_groups_count(top: Path) -> None:
    with Held({5: top}, view=View(USER, USER, (GROUP,))) as held:
        for_group = directory(top / "for_group", 0o750, 0, GROUP)
        for_others = directory(top / "for_others", 0o705, 0, GROUP)
        for_other_group = directory(top / "for_other_group", 0o750, 0, OTHER_GROUP)
        for_own_group = directory(top / "for_own_group", 0o750, 0, USER)
        held.records()
        for each in (for_group, for_others, for_other_group, for_own_group):
            touch(each / "file")
        assert held.paths() == [b"/for_group/file", b"/for_own_group/file"]


def test_groups_of_one_user_do_not_count_for_another(top: Path) -> None:
    inner = directory(top / "inner", 0o750, 0, GROUP)
    with Held({5: top}, view=View(USER, USER, (GROUP,))) as one, Held({6: top}, view=View(OTHER_USER, 1)) as other:
        touch(inner / "file")
        assert one.paths() == [b"/inner/file"]
        assert other.paths() == []


USER_OBJ, ACL_USER, GROUP_OBJ, ACL_GROUP, ACL_MASK, OTHER = 1, 2, 4, 8, 16, 32


def acl(
    of_group: int, mask: int, others: int, *, users: dict[int, int] | None = None, groups: dict[int, int] | None = None
) -> list[tuple[int, int, int]]:
    """Entries of an access control list, in the order that the kernel wants."""
    return [
        (USER_OBJ, 7, ID_NONE),
        *((ACL_USER, permissions, uid) for uid, permissions in sorted((users or {}).items())),
        (GROUP_OBJ, of_group, ID_NONE),
        *((ACL_GROUP, permissions, gid) for gid, permissions in sorted((groups or {}).items())),
        (ACL_MASK, mask, ID_NONE),
        (OTHER, others, ID_NONE),
    ]


@pytest.mark.parametrize(
    ("entries", "is_told"),
    [
        (acl(0, 7, 0, users={USER: 5}), True),
        (acl(0, 1, 0, users={USER: 5}), False),
        (acl(5, 7, 5, users={USER: 0}), False),
        (acl(0, 5, 0, groups={GROUP: 5}), True),
        (acl(5, 5, 5, groups={GROUP: 1}), False),
        (acl(5, 5, 0, users={OTHER_USER: 5}), False),
        (acl(5, 5, 5, users={OTHER_USER: 0}), True),
    ],
)
def test_access_control_lists_count(top: Path, entries: list[tuple[int, int, int]], is_told: bool) -> None:
    with Held({5: top}, view=View(USER, USER, (GROUP,))) as held:
        inner = directory(top / "inner")
        set_acl(inner, *entries)
        held.records()
        touch(inner / "file")
        assert bool(held.records()) == is_told


def can_use(path: Path) -> bool:
    """Whether this process may list and search a directory, whatever is above it."""
    with contextlib.suppress(OSError):
        return os.access(path, os.R_OK | os.X_OK, effective_ids=True)
    return False


def test_a_rename_with_a_hidden_side_tells_the_other_only(held: Held, top: Path) -> None:
    private = directory(top / "private", 0o700)
    touch(top / "out")
    touch(private / "in")
    held.records()
    (top / "out").rename(private / "gone")
    (private / "in").rename(top / "come")
    (private / "gone").rename(private / "never")
    gone, come = (record for record in held.records() if record.mask & Mask.RENAME)
    assert (gone.path, gone.old_path) == ((0, b""), (5, b"/out"))
    assert (come.path, come.old_path) == ((5, b"/come"), (0, b""))
    bits = [int.from_bytes(bytes_, "little") for bytes_ in (gone.fields.inside, gone.fields.old_inside)]
    assert bits == [0, 1 << 7]
    bits = [int.from_bytes(bytes_, "little") for bytes_ in (come.fields.inside, come.fields.old_inside)]
    assert bits == [1 << 7, 0]


def test_a_rename_between_roots_has_both_numbers(top: Path) -> None:
    one, other = directory(top / "one"), directory(top / "other")
    touch(one / "file")
    (one / "dir").mkdir()
    with Held({5: one, 6: other}) as held:
        (one / "file").rename(other / "file2")
        (one / "dir").rename(other / "dir2")
        file, dir_ = (record for record in held.records() if record.mask & Mask.RENAME)
        assert (file.path, file.old_path) == ((6, b"/file2"), (5, b"/file"))
        assert (dir_.path, dir_.old_path) == ((6, b"/dir2"), (5, b"/dir"))


def test_a_rename_from_outside_the_roots_tells_no_old_path(top: Path) -> None:
    inner = directory(top / "inner")
    touch(top / "file")
    with Held({5: inner}) as held:
        (top / "file").rename(inner / "file")
        (record,) = (record for record in held.records() if record.mask & Mask.RENAME)
        assert (record.path, record.old_path) == ((5, b"/file"), (0, b""))


def test_of_processes_of_other_users_nothing_is_told(held: Held, top: Path) -> None:
    open_way(top).chmod(0o777)
    held.records()
    touch(top / "by_root")

    def touch_and_tell() -> int:
        touch(top / "by_user")
        return os.getpid()

    own_tgid = as_ids(touch_and_tell, USER, USER)
    as_ids(lambda: touch(top / "by_other"), OTHER_USER, OTHER_USER)
    for record in held.records():
        fields = record.fields
        is_own = record.path[1] == b"/by_user"
        assert (fields.tgid, fields.uid) == ((own_tgid, USER) if is_own else (0, UNKNOWN)), record
        assert bool(fields.comm.rstrip(b"\0")) == is_own
        assert (fields.tid, fields.gid, fields.cgroup_id, fields.epoch, fields.mode) == (0, UNKNOWN, 0, 0, 0)
        assert (fields.generation, fields.chain, fields.n_passed) == (0, 0, 0)


def test_what_the_reader_does_itself_is_left_out_unless_asked_for(top: Path) -> None:
    open_way(top).chmod(0o777)
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(writer)
            os.setresuid(USER, USER, USER)
            os.read(reader, 1)
            touch(top / "mine")
        finally:
            os._exit(0)
    with (
        Held({5: top}, view=View(USER, USER, tgid=pid)) as without,
        Held({5: top}, view=View(USER, USER, tgid=pid, include_self=True)) as with_self,
    ):
        os.write(writer, b"x")
        wait_for(pid)
        assert without.paths() == []
        assert with_self.paths() == [b"/mine"]
    os.close(reader)
    os.close(writer)


def test_user_0_sees_all(top: Path) -> None:
    private = directory(top / "private", 0)
    with Held({5: top}, view=View(0, 0)) as held:
        as_ids(lambda: None, USER, USER)
        in_child(lambda: touch(private / "file"))
        created = held.records()[0]
        assert created.path == (5, b"/private/file")
        assert created.fields.tgid != 0


def test_sets_of_other_groups_are_not_told(top: Path) -> None:
    with Held({5: top}) as held, Held({9: top}, view=View(OTHER_USER, 1)) as other, Group(engine="kernel") as ours:
        ours.mark(top, Mask.CREATE)
        touch(top / "file")
        for each in (held, other):
            assert {int.from_bytes(record.fields.inside, "little") for record in each.records()} == {1 << 7}
        assert [event.path for event in ours.read(timeout_s=1)] == [os.fspath(top / "file")]


def test_a_root_that_the_user_may_no_longer_use_hides_what_is_in_it(held: Held, top: Path) -> None:
    top.chmod(0o700)
    held.records()
    touch(top / "file")
    assert held.records() == []


def test_a_root_that_goes_is_told_by_its_number(filesystem: Filesystem) -> None:
    filesystem.dir.chmod(0o700)
    root = directory(filesystem.dir / "root")
    with Held({5: root}) as held:
        root.rmdir()
        (gone,) = (record for record in held.records() if record.fields.kind == FpKind.ROOT_GONE)
        assert (gone.path, gone.fields.inode, gone.fields.dev) == ((5, b""), 0, 0)
        root.mkdir()
        touch(root / "file")
        assert held.records() == []


def test_a_marked_file_is_told_by_the_number_of_its_mark(top: Path) -> None:
    private = directory(top / "private", 0o700)
    file = private / "file"
    touch(file)
    file.chmod(0o644)
    with Held({}) as held:
        held.mark_object(3, file, Mask.MODIFY | Mask.ATTRIB)
        touch(file)
        (record,) = held.records()
        assert record.path == (3, b"")
        assert record.fields.flags & FpShownFlag.PATH_OF_MARK
        file.chmod(0o600)
        held.records()
        touch(file)
        assert held.records() == []


def test_an_excepted_directory_is_silent(top: Path) -> None:
    inner = directory(top / "inner")
    with Held({5: top}, without=[inner]) as held:
        touch(inner / "file")
        assert held.records() == []


def test_the_ring_is_readable_by_an_ordinary_user_who_got_only_its_descriptor(held: Held, top: Path) -> None:
    touch(top / "file")
    fd = held.engine.ring_fd

    def read() -> tuple[bool, list[bytes]]:
        is_ready = bool(select.select([fd], [], [], 5)[0])
        with RingReader(fd, RING_BYTES) as reader:
            return is_ready, reader.read_batch(100).paths()

    is_ready, paths = as_ids(read, USER, USER)
    assert is_ready
    assert b"/file" in paths


def test_a_reader_may_not_write_the_data(held: Held) -> None:
    fd, page = held.engine.ring_fd, os.sysconf("SC_PAGESIZE")

    def write() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        assert libc.mmap(None, page, 3, 1, fd, page) == ctypes.c_void_p(-1).value
        return ctypes.get_errno()

    assert as_ids(write, USER, USER) == errno.EPERM


def test_losses_are_counted(top: Path) -> None:
    with Held({5: top}) as held:
        for n in range(8000):
            touch(top / f"{n:0>200}")
        held.records()
        touch(top / "last")
        assert max(record.fields.n_dropped for record in held.records()) > 0


def test_what_the_programs_see_is_what_access_says(filesystem: Filesystem) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    open_way(filesystem.dir).chmod(0o755)
    user, groups = View(USER, USER, (GROUP,)), [GROUP]
    ids, gids = (0, USER, OTHER_USER), (0, USER, GROUP, OTHER_GROUP)
    with Held({5: filesystem.dir}, view=user) as held:
        n_told = 0
        for n in range(150):
            outer = directory(filesystem.dir / f"{n}", 0o755)
            inner = directory(outer / "inner")
            for each in (inner, outer):
                if chance.random() < 0.5:
                    users = {uid: chance.choice([0, 5, 5, 7, 1]) for uid in (USER, OTHER_USER) if chance.random() < 0.5}
                    more = {gid: chance.choice([0, 5, 5, 7]) for gid in gids[1:] if chance.random() < 0.5}
                    mask, others = chance.choice([5, 5, 7, 1]), chance.choice([0, 5, 7, 4])
                    set_acl(each, *acl(chance.choice([0, 5, 7, 1]), mask, others, users=users, groups=more))
                else:
                    each.chmod(chance.choice([chance.randrange(0o1000), 0o755, 0o750, 0o700]))
                os.chown(each, chance.choice(ids), chance.choice(gids))
            is_allowed = as_ids(lambda o=outer, i=inner: can_use(o) and can_use(i), USER, USER, groups)  # type: ignore[misc]
            held.records()
            touch(inner / "file")
            is_told = any(record.path[1].endswith(b"/file") for record in held.records())
            assert is_told == is_allowed, f"{n}: {oct(inner.stat().st_mode)} {oct(outer.stat().st_mode)}"
            n_told += is_told
        assert 10 < n_told < 140


@everywhere
def test_rights_count_on_every_filesystem_on_which_they_are_what_they_seem(filesystem: Filesystem) -> None:
    shown, hidden = directory(filesystem.dir / "shown"), directory(filesystem.dir / "hidden", 0o700)
    filesystem.dir.chmod(0o755)
    if filesystem.kind not in ("ext4", "xfs", "tmpfs", "btrfs", "btrfs-subvolume"):
        with pytest.raises(UnsupportedFilesystem, match="cannot tell who may see"):
            Held({5: filesystem.dir})
        return
    with Held({5: filesystem.dir}) as held:
        touch(shown / "file")
        touch(hidden / "file")
        assert held.paths() == [b"/shown/file"]


def test_what_this_process_does_is_left_out(held: Held, top: Path) -> None:
    held.pass_for_ourselves()
    touch(top / "file")
    assert held.records() == []


def test_nobody_is_served_by_who_is_not_told_the_addresses_of_the_kernel() -> None:
    check = [sys.executable, "-c", "from fanotify_fastpath._engines.kernel.viewers import check_views; check_views()"]
    assert subprocess.run(check, timeout=LONG_S).returncode == 0
    without = ["setpriv", "--bounding-set=-syslog", "--inh-caps=-syslog"]
    refused = subprocess.run([*without, *check], timeout=LONG_S, stderr=subprocess.PIPE, text=True)
    assert "UnsupportedFeature" in refused.stderr
    assert "CAP_SYSLOG" in refused.stderr
