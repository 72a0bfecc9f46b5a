"""Denying in the kernel: what is denied inside, by whatever route; and nothing outside, and nothing afterwards."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from children import NOBODY_UID, become, in_child
from fanotify_fastpath import Group, Mask, guard
from fanotify_fastpath._uapi.constants import AT_FDCWD
from fanotify_fastpath._uapi.syscalls import name_to_handle_at, open_by_handle_at
from mounting import Filesystem, Mounter, run
from outcomes import errno_of, wait_until
from scenarios import actions
from scenarios.support import Other, refusal

from . import operations as do
from .census import census

SRC = Path(fan.__file__).parent.parent
ALL = Mask.OPEN_PERM | Mask.OPEN_EXEC_PERM | Mask.ACCESS_PERM | Mask.ALL_CHANGES_PERM | Mask.ONDIR
#: by what is denied, all that is refused then
REFUSED: dict[Mask, list[Callable[[Path], None]]] = {
    Mask.OPEN_PERM: [do.open_to_read, do.open_to_write, do.open_through_descriptor, do.open_in_directory],
    Mask.OPEN_EXEC_PERM: [do.execute, do.execute_descriptor],
    Mask.ACCESS_PERM: [do.read, do.read_at, do.read_mapped, do.send, do.splice],
    Mask.CREATE_PERM: [do.make_file, do.make_fifo, do.make_socket, do.make_nameless],
    Mask.MKDIR_PERM: [do.make_directory, do.make_directory_at],
    Mask.UNLINK_PERM: [do.unlink],
    Mask.RMDIR_PERM: [do.rmdir],
    Mask.RENAME_PERM: [do.rename, do.rename_over, do.rename_directory, do.exchange],
    Mask.LINK_PERM: [do.link],
    Mask.SYMLINK_PERM: [do.symlink],
    Mask.SETATTR_PERM: [
        do.chmod,
        do.chmod_directory,
        do.chmod_descriptor,
        do.chown,
        do.change_times,
        do.set_attribute,
        do.remove_attribute,
        do.set_acl,
        do.set_flags,
    ],
    Mask.TRUNCATE_PERM: [do.truncate, do.truncate_descriptor, do.open_truncating],
}
EVERY = [(mask, act) for mask, acts in REFUSED.items() for act in acts]
NAMES = [act.__name__ for _, act in EVERY]


pytestmark = pytest.mark.kernel_engine


@pytest.fixture(scope="module", autouse=True)
def standing(session_mounts: Mounter) -> Iterator[None]:
    """All hooks stay attached while the module runs: in an emulated machine each time takes seconds."""
    with Group(engine="kernel") as group:
        group.forbid(session_mounts.make("tmpfs"), ALL)
        yield


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    with Other() as process:
        yield process


def fill(directory: Path) -> Path:
    """Make what the operations work on."""
    directory.mkdir(parents=True)
    for name in ("f", "g"):
        (directory / name).write_bytes(b"content of " + name.encode())
    (directory / "d").mkdir()
    shutil.copy("/bin/true", directory / "run")
    os.setxattr(directory / "f", "trusted.old", b"x")
    return directory


def state(directory: Path) -> list[object]:
    """All that can be seen of a directory."""
    told: list[object] = []
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.stat()
        told.append((str(path), status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_size))
        told.append((status.st_mtime_ns, sorted(os.listxattr(path))))
    return told


@pytest.fixture
def mounted(no_leaks: None, filesystem: Filesystem) -> Path:
    return filesystem.dir


@pytest.fixture
def inside(mounted: Path) -> Path:
    return fill(mounted / "guarded/deep/er")


@pytest.fixture
def outside(mounted: Path) -> Path:
    return fill(mounted / "free/deep/er")


@pytest.mark.parametrize(("denied", "act"), EVERY, ids=NAMES)
def test_what_is_denied_fails_inside_and_changes_nothing_and_works_outside(
    mounted: Path, inside: Path, outside: Path, other: Other, denied: Mask, act: Callable[[Path], None]
) -> None:
    before = state(inside)
    with guard(mounted / "guarded", deny=denied, engine="kernel") as guarded:
        assert guarded.group.engine == "kernel"
        assert refusal(other, act, inside) == "EPERM"
        assert state(inside) == before
        assert guarded.group.counters.n_denied >= 1
        n_denied = guarded.group.counters.n_denied
        assert refusal(other, act, outside) == "ok"
        assert guarded.group.counters.n_denied == n_denied
    assert refusal(other, act, inside) == "ok"


@pytest.mark.parametrize("denied", REFUSED, ids=lambda mask: fan.mask_names(mask)[0])
def test_nothing_else_is_denied(mounted: Path, other: Other, denied: Mask) -> None:
    # who may not be opened cannot be read, nor executed; what is read in order to be executed is read
    implied = {
        Mask.OPEN_PERM: Mask.OPEN_EXEC_PERM | Mask.ACCESS_PERM,
        Mask.ACCESS_PERM: Mask.OPEN_EXEC_PERM,
    }.get(denied, Mask(0))
    opening: tuple[Callable[[Path], None], ...] = (do.make_file, do.make_nameless, do.chmod_descriptor, do.set_flags)
    opening += (do.truncate_descriptor, do.open_truncating)
    (mounted / "guarded").mkdir()
    with guard(mounted / "guarded", deny=denied, engine="kernel"):
        for n, (mask, act) in enumerate(EVERY):
            if mask & (denied | implied) or (denied == Mask.OPEN_PERM and act in opening):
                continue
            if denied == Mask.TRUNCATE_PERM and act is do.open_truncating:
                continue
            assert refusal(other, act, fill(mounted / f"guarded/{n}")) == "ok", act.__name__


@pytest.mark.parametrize("kind", ["tmpfs", "xfs", "btrfs", "overlayfs"])
def test_every_operation_is_denied_on_every_filesystem(mounts: Mounter, other: Other, kind: str) -> None:
    mounted = mounts.make(kind)
    inside, outside = fill(mounted / "guarded/deep"), fill(mounted / "free/deep")
    with guard(mounted / "guarded", deny=ALL, engine="kernel"):
        before = state(inside)
        for _, act in EVERY:
            expected = refusal(other, act, outside)
            assert refusal(other, act, inside) in ("EPERM", expected if expected != "ok" else "EPERM"), act.__name__
            shutil.rmtree(mounted / "free")
            fill(outside)
        assert state(inside) == before


def test_directories_are_opened_and_listed_unless_they_are_denied_too(
    mounted: Path, inside: Path, outside: Path, other: Other
) -> None:
    for denied in (Mask.OPEN_PERM, Mask.ACCESS_PERM):
        with guard(mounted / "guarded", deny=denied, engine="kernel"):
            assert refusal(other, do.list_directory, inside) == "ok"
        with guard(mounted / "guarded", deny=denied | Mask.ONDIR, engine="kernel"):
            assert refusal(other, do.list_directory, inside) == "EPERM"
            assert refusal(other, do.list_directory, outside) == "ok"


@pytest.mark.parametrize("route", ["path", "relative", "symlink", "bind", "descriptor"])
def test_every_way_to_the_directory_is_the_same(
    mounted: Path, inside: Path, outside: Path, other: Other, mounts: Mounter, route: str
) -> None:
    def way(to: Path) -> Path:
        if route == "relative":
            return mounted / "free/deep/../.." / to.relative_to(mounted)
        if route == "symlink":
            link = mounted / f"link-to-{to.parts[-3]}"
            link.symlink_to(to)
            return link
        if route == "bind":
            return mounts.bind(to)
        if route == "descriptor":
            fds.append(os.open(to, os.O_PATH))
            return Path(f"/proc/{os.getpid()}/fd/{fds[-1]}")
        return to

    fds: list[int] = []
    try:
        with guard(mounted / "guarded", deny=ALL, engine="kernel"):
            path_in, path_out = way(inside), way(outside)
            for act in (do.read, do.make_directory, do.chmod, do.unlink):
                assert refusal(other, act, path_in) == "EPERM"
                assert refusal(other, act, path_out) == "ok"
    finally:
        for fd in fds:
            os.close(fd)


def test_moves_decide_at_once(mounted: Path, inside: Path, outside: Path, other: Other) -> None:
    """Renames are free here: what is moved is denied, or is not, from the very next operation on."""
    denied = Mask.OPEN_PERM | Mask.MKDIR_PERM
    with guard(mounted / "guarded", deny=denied, engine="kernel"):
        for n in range(20):
            assert refusal(other, do.open_to_read, mounted / "free/deep/er") == "ok"
            other(do.move, mounted / "free/deep", mounted / "guarded/moved")
            assert refusal(other, do.open_to_read, mounted / "guarded/moved/er") == "EPERM"
            assert refusal(other, do.make_directory, mounted / "guarded/moved/er") == "EPERM"
            if n % 2:  # the guarded directory itself may be anywhere
                other(do.move, mounted / "guarded", mounted / "free/guarded")
                assert refusal(other, do.open_to_read, mounted / "free/guarded/deep/er") == "EPERM"
                other(do.move, mounted / "free/guarded", mounted / "guarded")
            other(do.move, mounted / "guarded/moved", mounted / "free/deep")
            assert refusal(other, do.make_directory, mounted / "free/deep/er") == "ok"
            os.rmdir(mounted / "free/deep/er/new")


def test_a_rename_or_a_link_over_the_border_is_denied_in_both_directions(
    mounted: Path, inside: Path, outside: Path, other: Other
) -> None:
    with guard(mounted / "guarded", deny=Mask.RENAME_PERM | Mask.LINK_PERM, engine="kernel"):
        for act in (do.move, do.hard_link):
            assert refusal(other, act, inside / "f", outside / "new") == "EPERM"
            assert refusal(other, act, outside / "f", inside / "new") == "EPERM"
            assert refusal(other, act, outside / "f", outside / act.__name__) == "ok"
            os.replace(outside / act.__name__, outside / "f")
        assert refusal(other, do.move, inside.parent, mounted / "out") == "EPERM"
        assert refusal(other, do.move, outside.parent, mounted / "guarded/in") == "EPERM"
        assert refusal(other, do.move, mounted / "guarded", mounted / "new") == "EPERM"
        assert refusal(other, do.move, mounted / "free", mounted / "freed") == "ok"


def test_renames_elsewhere_change_no_answer(mounted: Path, inside: Path, outside: Path, mounts: Mounter) -> None:
    stop = mounted / "stop"
    busy, asking = Other(), Other()
    with busy, asking, guard(mounted / "guarded", deny=Mask.OPEN_PERM, engine="kernel"):
        (mounted / "churned").mkdir()
        busy.start(do.churn, mounted / "churned", stop)
        try:
            for _ in range(200):
                assert refusal(asking, do.open_to_read, inside) == "EPERM"
                assert refusal(asking, do.open_to_read, outside) == "ok"
        finally:
            stop.touch()
            n_renames = busy.finish()
    assert n_renames > 200


def test_a_hard_link_is_judged_by_the_name_that_is_used(
    mounted: Path, inside: Path, outside: Path, other: Other
) -> None:
    os.link(inside / "g", outside / "link")
    os.link(outside / "link", inside / "second")
    with guard(mounted / "guarded", deny=Mask.UNLINK_PERM | Mask.TRUNCATE_PERM, engine="kernel"):
        for name in (inside / "g", inside / "second"):
            assert refusal(other, os.truncate, name, 0) == "EPERM"
            assert refusal(other, os.unlink, name) == "EPERM"
        assert refusal(other, os.truncate, outside / "link", 0) == "ok"
        assert refusal(other, os.unlink, outside / "link") == "ok"


def test_a_single_file_is_guarded_by_all_its_names(mounted: Path, inside: Path, outside: Path, other: Other) -> None:
    os.link(inside / "f", outside / "link")
    with guard(inside / "f", deny=Mask.UNLINK_PERM | Mask.RENAME_PERM | Mask.OPEN_PERM, engine="kernel"):
        for name in (inside / "f", outside / "link"):
            assert refusal(other, os.unlink, name) == "EPERM"
            assert refusal(other, os.rename, outside / "g", name) == "EPERM"
            assert refusal(other, os.stat, name) == "ok"
        assert refusal(other, os.unlink, inside / "g") == "ok"


def test_exceptions_are_free(mounted: Path, inside: Path, outside: Path, other: Other) -> None:
    mounted.chmod(0o755)
    shutil.copy("/bin/cat", mounted / "mine")
    shutil.copy("/bin/cat", mounted / "not-mine")
    inner = fill(inside / "free")
    options = {"exclude": [inner], "allow_uids": [NOBODY_UID], "allow_exes": [mounted / "mine"]}

    def as_nobody() -> str:
        become(NOBODY_UID)
        return errno_of(do.open_to_read, inside)

    with guard(mounted / "guarded", deny=Mask.OPEN_PERM | Mask.RMDIR_PERM, engine="kernel", **options):  # type: ignore[arg-type]
        assert refusal(other, do.open_to_read, inside) == "EPERM"
        assert refusal(other, do.open_to_read, inner) == "ok"
        assert refusal(other, do.rmdir, inner) == "ok"
        assert in_child(lambda: errno_of(do.open_to_read, inside)) == "EPERM"
        assert in_child(as_nobody) == "ok"
        assert subprocess.run([mounted / "mine", inside / "f"], capture_output=True, check=False).returncode == 0
        assert subprocess.run([mounted / "not-mine", inside / "f"], capture_output=True, check=False).returncode == 1
        do.open_to_read(inside)  # this process
        do.rmdir(inside)
    with guard(mounted / "guarded", deny=Mask.OPEN_PERM, engine="kernel"):  # the exceptions went with their guard
        assert in_child(lambda: errno_of(do.open_to_read, inner)) == "EPERM"
        assert subprocess.run([mounted / "mine", inside / "g"], capture_output=True, check=False).returncode == 1


def test_roots_come_and_go(mounted: Path, inside: Path, outside: Path, other: Other) -> None:
    third = fill(mounted / "third")
    with guard(mounted / "guarded", outside, deny=Mask.OPEN_PERM, engine="kernel") as guarded:
        for where, answer in ((inside, "EPERM"), (outside, "EPERM"), (third, "ok")):
            assert refusal(other, do.open_to_read, where) == answer
        guarded.add_root(third)
        guarded.remove_root(outside)
        for where, answer in ((inside, "EPERM"), (outside, "ok"), (third, "EPERM")):
            assert refusal(other, do.open_to_read, where) == answer
        with guard(outside, deny=Mask.MKDIR_PERM, engine="kernel") as second:
            assert refusal(other, do.open_to_read, outside) == "ok"
            assert refusal(other, do.make_directory, outside) == "EPERM"
            assert second.group.counters.n_denied == 1
        assert refusal(other, do.make_directory, outside) == "ok"
        assert guarded.group.counters.n_denied == 4
    assert guarded.group.counters.n_denied == 4
    for where in (inside, outside, third):
        assert refusal(other, do.open_to_read, where) == "ok"


def test_marks_of_one_group_deny_and_count_together(mounted: Path, inside: Path, outside: Path, other: Other) -> None:
    with Group(engine="kernel") as group:
        first = group.forbid(mounted / "guarded", Mask.UNLINK_PERM | Mask.RMDIR_PERM)
        group.forbid(mounted / "free", Mask.RMDIR_PERM)
        group.forbid(mounted, Mask.SYMLINK_PERM)
        for act in (do.unlink, do.rmdir, do.symlink):
            assert refusal(other, act, inside) == "EPERM"
        assert refusal(other, do.unlink, outside) == "ok"
        assert refusal(other, do.rmdir, outside) == "EPERM"
        assert group.counters.n_denied == 4
        group.unmark(first)
        assert group.counters.n_denied == 4
        assert refusal(other, do.unlink, inside) == "ok"
        assert refusal(other, do.symlink, inside) == "EPERM"
        assert refusal(other, do.rmdir, outside) == "EPERM"
        assert group.counters.n_denied == 6


def test_a_very_deep_tree_is_guarded_and_one_outside_is_free(mounted: Path, other: Other) -> None:
    fds = []
    for name in ("guarded", "free"):
        os.mkdir(mounted / name)
        at = os.open(mounted / name, os.O_RDONLY)
        for _ in range(600):
            os.mkdir("d", dir_fd=at)
            deeper = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = deeper
        fds.append(at)
    try:
        with guard(mounted / "guarded", deny=Mask.MKDIR_PERM, engine="kernel") as guarded:
            bottoms = [Path(f"/proc/{os.getpid()}/fd/{fd}") for fd in fds]
            assert [refusal(other, do.make_directory, bottom) for bottom in bottoms] == ["EPERM", "ok"]
            assert guarded.group.counters.n_undecided == 0
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize(("answer", "expected"), [("allow", "ok"), ("deny", "EPERM")])
def test_what_has_no_place_is_answered_as_said_and_counted(
    mounted: Path, inside: Path, answer: str, expected: str
) -> None:
    handle, _ = name_to_handle_at(AT_FDCWD, os.fsencode(inside / "f"), 0)

    def open_handle() -> str:
        Path("/proc/sys/vm/drop_caches").write_text("2")
        top = os.open(mounted, os.O_RDONLY)
        return errno_of(open_by_handle_at, top, handle, os.O_RDONLY)

    with guard(mounted / "guarded", deny=Mask.OPEN_PERM, engine="kernel", on_timeout=answer) as guarded:  # type: ignore[arg-type]
        assert in_child(open_handle) == expected
        assert guarded.group.counters.n_undecided >= 1


def test_unmounting_ends_it_and_the_next_filesystem_on_the_device_is_free(mounts: Mounter, other: Other) -> None:
    image = mounts.image("ext4")
    command: list[str | Path] = ["losetup", "--find", "--show", image]
    loop = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        mounted = mounts.mount(mounts.new_dir("point"), loop)
        inside = fill(mounted / "guarded/deep")
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(guard(mounted / "guarded", deny=ALL, engine="kernel"))
            assert refusal(other, do.open_to_read, inside) == "EPERM"
            mounts.umount(mounted)
            # not read yet, so this process may not know; and device and inodes are the same as before
            mounts.mount(mounted, loop)
            for act in (do.read, do.make_directory, do.chmod):
                assert refusal(other, act, inside) == "ok"
            second = stack.enter_context(guard(mounted / "guarded", deny=Mask.OPEN_PERM, engine="kernel"))
            assert refusal(other, do.open_to_read, inside) == "EPERM"
            wait_until(lambda: any(event.mask & Mask.UNMOUNT for event in first.read(timeout_s=1)), "it is told")
            assert refusal(other, do.open_to_read, inside) == "EPERM"
            first.close()
            assert refusal(other, do.open_to_read, inside) == "EPERM"
            second.close()
            assert refusal(other, do.open_to_read, inside) == "ok"
        mounts.umount(mounted)
    finally:
        run("losetup", "--detach", loop)


def test_a_root_that_is_removed_is_told_and_guards_nothing_made_later(mounted: Path, other: Other) -> None:
    inside = fill(mounted / "guarded")
    with guard(inside, deny=Mask.OPEN_PERM, engine="kernel") as guarded:
        other(actions.remove_tree, inside)
        assert refusal(other, do.open_to_read, fill(inside)) == "ok"
        wait_until(lambda: any(event.mask & Mask.ROOT_GONE for event in guarded.read(timeout_s=1)), "it is told")
        assert refusal(other, do.open_to_read, inside) == "ok"


GUARDING = r"""
import os, sys, time
sys.path.insert(0, sys.argv[1])
import fanotify_fastpath as fan
deny = fan.Mask.OPEN_PERM | fan.Mask.ONDIR | fan.Mask.ALL_CHANGES_PERM
with fan.guard(sys.argv[2], deny=deny, engine="kernel"):
    if sys.argv[3] == "fork" and os.fork() == 0:
        time.sleep(60)  # with all that its parent has open
    print("ready", flush=True)
    time.sleep(60)
"""


def programs() -> set[int]:
    """The programs that the kernel has, by number."""
    return census()["program"]


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_guard_denies_nothing_within_a_second(mounted: Path, inside: Path, other: Other, how: str) -> None:
    before = programs()
    command = [sys.executable, "-c", GUARDING, str(SRC), str(mounted / "guarded"), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            assert programs() > before
            assert refusal(other, do.open_to_read, inside) == "EPERM"
            assert refusal(other, do.rename, inside) == "EPERM"
            killed_at = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            results = [refusal(other, act, inside) for act in (do.open_to_read, do.make_directory, do.chmod)]
            assert results == ["ok", "ok", "ok"], f"after {time.monotonic() - killed_at} s"
            if how == "alone":
                wait_until(lambda: programs() == before, "the programs are gone")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: programs() == before, "the programs are gone")


def test_a_stopped_guard_goes_on_denying_and_makes_nobody_wait(
    mounted: Path, inside: Path, outside: Path, other: Other
) -> None:
    command = [sys.executable, "-c", GUARDING, str(SRC), str(mounted / "guarded"), "alone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            os.kill(process.pid, signal.SIGSTOP)
            assert refusal(other, do.make_directory, inside) == "EPERM"
            assert refusal(other, do.make_directory, outside) == "ok"
        finally:
            process.kill()


def test_a_guard_that_fails_changes_nothing(mounted: Path, inside: Path, other: Other) -> None:
    with pytest.raises(fan.PathNotFound):
        guard(mounted / "guarded", deny=ALL, engine="kernel", allow_exes=[mounted / "missing"])
    with pytest.raises(fan.PathNotFound):
        guard(mounted / "guarded", mounted / "missing", deny=ALL, engine="kernel")
    for act in (do.open_to_read, do.make_directory):
        assert refusal(other, act, inside) == "ok"


def test_decide_is_asked_through_fanotify(mounted: Path, inside: Path, other: Other) -> None:
    with guard(mounted / "guarded", decide=lambda event: str(event.path).endswith("g"), engine="kernel") as guarded:
        assert guarded.group.engine == "kernel"
        assert refusal(other, do.open_to_read, inside) == "EPERM"
        assert refusal(other, os.open, inside / "g", os.O_RDONLY) == "ok"
        assert guarded.group.counters.n_denied == 0


def test_the_doctor_says_how_it_is_denied() -> None:
    (check,) = [check for check in fan.diagnose().engine("kernel").checks if check.name == "denying"]
    assert check.ok
    assert "all operations" in check.detail
