"""
What differs between the engines, on each of them: one test for each row of the table in docs/engines.md.

A new row needs a test here, and names it.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from children import as_nobody
from engines import ENGINES
from fanotify_fastpath import Event, Group, Mask, NotPermitted, Scope, UnsupportedFeature, guard
from fanotify_fastpath.handlers_in_c import read_handler
from mounting import Mounter

from . import actions
from .conftest import Stage
from .support import Other, make_reachable, paths, shell
from .users import ids
from .witness import Shown, witness

TELLS_THREAD = """
#include <handler.bpf.h>

HANDLER("tells-thread", "remembers which threads there were");
HANDLER_NEEDS("inode");
HANDLER_MAP(threads, 10, 1);
HANDLER_COUNTER(generation);

int handle(struct fp_handler_event *event)
{
	__u64 thread = event->tid;

	fp_count(&generation, event->generation);
	return fp_put(&threads, &thread, 1) ? FP_SEND_TO_USERSPACE : FP_FAILED;
}
"""

#: what races with the reading of events is tried as often
N_TRIES = 20


@pytest.fixture(scope="module", autouse=True)
def _denying(session_mounts: Mounter) -> Iterator[None]:
    """The programs that deny stay loaded while the module runs: each time takes seconds in an emulated machine."""
    with ExitStack() as exits:
        if "kernel" in ENGINES:
            group = exits.enter_context(Group(engine="kernel"))
            group.forbid(session_mounts.make("tmpfs"), Mask.CREATE_PERM)
        yield


def test_what_is_unread_is_merged_or_comes_by_itself(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    types = Mask.CREATE | Mask.MODIFY | Mask.CLOSE_WRITE
    ears = stage.watch(root, types)
    for n in range(N_TRIES):
        stage.other(actions.write, root / f"f{n}")
    masks: dict[str, list[Mask]] = {}
    for event in ears.hear(root):
        masks.setdefault(event.path or "", []).append(event.mask)
    assert len(masks) == N_TRIES
    if stage.engine == "kernel":
        assert list(masks.values()) == [[Mask.CREATE, Mask.MODIFY, Mask.CLOSE_WRITE]] * N_TRIES
    else:
        assert any(len(told) < 3 for told in masks.values())
    assert all(sum(told, Mask(0)) == types or told[0] == types for told in masks.values())


def test_without_merging_every_event_is_told(stage: Stage) -> None:
    if stage.engine != "kernel":
        with pytest.raises(UnsupportedFeature, match="merges"):
            stage.group(merge=False)
        return
    (root,) = stage.dirs("root")
    (root / "file").write_bytes(b"x")
    ears = stage.watch(root, Mask.OPEN | Mask.ACCESS, merge=False)
    for _ in range(N_TRIES):
        stage.other(actions.read, root / "file")
    told = [event.mask for event in ears.hear(root) if event.path == str(root / "file")]
    assert told == [Mask.OPEN, Mask.ACCESS] * N_TRIES


def test_after_a_move_in_is_told_to_read_anew_or_all_that_happened(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = stage.watch(root)
    n_rescans = 0
    for n in range(N_TRIES):
        stage.dirs(f"outside/tree{n}/a")
        stage.other(actions.write, outside / f"tree{n}/a/before")
        ears.hear(root)
        stage.other(os.rename, outside / f"tree{n}", root / f"tree{n}")
        stage.other(actions.write, root / f"tree{n}/a/after")
        heard = ears.hear(root)
        rescans = paths(heard, Mask.RESCAN, root)
        n_rescans += len(rescans)
        assert paths(heard, Mask.CREATE, root) == [f"tree{n}/a/after"] or rescans == [f"tree{n}"]
    assert (n_rescans == 0) == (stage.engine == "kernel")


def test_a_path_longer_than_path_max_is_told_in_full_or_lacks_its_beginning(stage: Stage) -> None:
    name, depth = b"n" * 40, 150
    root, outside = stage.dirs("root", "outside")
    for top in (root, outside):
        stage.other(actions.make_deep, top, name, depth)
    ears = stage.watch(root, Mask.CREATE)
    for top in (root, outside):
        stage.other(actions.touch_deep, top, name, depth, b"leaf")
    (event,) = ears.hear(root)
    path = b"/".join([os.fsencode(root), *([name] * depth), b"leaf"])
    assert not event.undecided
    if stage.has_records:
        assert event.is_truncated
        assert event.raw_path == stage.as_told(path) != path
    else:
        assert (event.raw_path, event.is_truncated) == (path, False)
    for top in (root, outside):
        stage.other(actions.remove_deep, top, name)


def test_below_256_directories_is_decided_or_sent_as_undecided(stage: Stage) -> None:
    name, depth = b"d", 300
    root, outside = stage.dirs("root", "outside")
    for top in (root, outside):
        stage.other(actions.make_deep, top, name, depth)
    ears = stage.watch(root, Mask.CREATE)
    for top in (root, outside):
        stage.other(actions.touch_deep, top, name, depth, b"leaf")
    heard = ears.hear(root)
    if stage.engine == "kernel":  # one from inside and one from outside
        assert len(heard) == 2
        assert all(event.undecided and event.is_truncated for event in heard)
        assert all((event.raw_path or b"").endswith(b"/d" * 250 + b"/leaf") for event in heard)
    else:
        path = os.fsencode(root) + b"/d" * depth + b"/leaf"
        assert [(event.raw_path, event.undecided) for event in heard] == [(path, False)]
    for top in (root, outside):
        stage.other(actions.remove_deep, top, name)


def test_the_user_is_who_it_was_or_who_it_has_become(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    uids = []
    for n in range(N_TRIES):
        with Other(0) as changing:  # another one each time: what is known of a process is kept for a while
            changing(actions.touch_and_become, root / f"f{n}", 1000 + n)
            (event,) = ears.hear(root)
        uids.append(event.uid)
    if stage.engine == "kernel":
        assert uids == [0] * N_TRIES
    elif stage.engine == "daemon":
        assert uids == [None] * N_TRIES  # neither is the listener's own
    else:
        assert set(uids) - {0} <= {1000 + n for n in range(N_TRIES)}
        assert set(uids) != {0}


@contextmanager
def turned_into_sleep(script: str) -> Iterator[None]:
    """Run a shell script, then have its process run another program; the block begins after that."""
    code = f"{script}\nexec sh -c 'echo; exec sleep 1000'"
    with subprocess.Popen(["dash", "-c", code], stdout=subprocess.PIPE, **ids()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while os.path.basename(os.readlink(f"/proc/{process.pid}/exe")) != "sleep":
            pass
        try:
            yield
        finally:
            process.kill()


def after_exec(stage: Stage) -> Iterator[Event]:
    """Events of processes that run another program by the time that somebody asks for them."""
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    for n in range(N_TRIES):
        with turned_into_sleep(f"> {root}/f{n}"):
            (event,) = ears.hear(root)
        assert paths([event], Mask.CREATE, root) == [f"f{n}"]
        yield event


def test_the_name_of_the_program_is_what_it_was_or_what_it_is(stage: Stage) -> None:
    names = set()
    for n, event in enumerate(after_exec(stage), 1):
        names.add(event.comm)
        # an engine may have looked at the process at once
        if n >= N_TRIES // 4 and (stage.engine != "fanotify" or names & {"sh", "sleep"}):
            break
    assert names <= {"dash", "sh", "sleep"}
    if stage.engine == "kernel":
        assert names == {"dash"}
    elif stage.engine == "fanotify":
        assert names & {"sh", "sleep"}


def shown_of_removed(stage: Stage) -> tuple[Path, Shown]:
    """A directory, and what a handler is shown of a file that was removed from it."""
    (root,) = stage.dirs("root")
    (root / "file").touch(0o600)
    ears = stage.watch(root, Mask.DELETE)
    shown = witness(ears.group)
    stage.other(os.unlink, root / "file")
    ears.hear(root)
    return root, shown[b"file"]


def test_the_mode_of_what_was_removed_is_unknown_or_what_it_was(stage: Stage) -> None:
    _, shown = shown_of_removed(stage)
    assert shown["mode"] == (0o100600 if stage.engine == "kernel" else None)


def test_the_directory_of_what_was_removed_is_known_or_not(stage: Stage) -> None:
    root, shown = shown_of_removed(stage)
    assert shown["dir_inode"] == (None if stage.has_records else os.stat(root).st_ino)


def test_the_size_of_what_was_renamed_since_is_known_or_not(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.OPEN)
    shown = witness(ears.group)
    sizes = set()
    for n in range(N_TRIES):
        (root / f"f{n}").write_bytes(b"12345")
        stage.other(actions.read, root / f"f{n}")
        os.rename(root / f"f{n}", root / f"renamed{n}")
        ears.hear(root)
        sizes.add(shown[b"f%d" % n]["size"])
    if stage.has_records:
        assert None in sizes
    else:
        assert sizes == {5}


def test_group_and_cgroup_of_a_process_that_has_ended_are_what_they_were_or_unknown(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    shown = witness(ears.group)
    told = set()
    for n in range(N_TRIES):
        shell(f"> f{n}", root)
        ears.hear(root)
        about = shown[b"f%d" % n]
        told.add((about["gid"], about["cgroup_id"] is not None))
    if stage.engine == "kernel":
        assert told == {(os.getegid(), True)}
    else:
        assert (None, False) in told


@pytest.mark.parametrize("filesystem", ["ext4", "overlayfs"], indirect=True)
def test_the_inode_is_told_always_or_where_the_handle_tells_it(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    stage.other(actions.touch, root / "file")
    (event,) = ears.hear(root)
    assert event.inode == (os.stat(root / "file").st_ino if stage.has_inodes else None)


def test_thread_and_generation_in_a_handler_in_c_are_unknown_or_told(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "handler.bpf.c"
    path.write_text(TELLS_THREAD)
    ears = stage.watch(stage.dirs("root")[0], Mask.CREATE)
    handler: Any = ears.group.attach(read_handler(path)).handler
    stage.other(actions.touch, stage.top / "root/file")
    ears.until(lambda event: event.mask & Mask.CREATE, "file")
    if stage.engine == "kernel":
        assert handler.threads.items() == [(stage.other.pid, 1)]
        assert handler.generation.value > 0
    else:
        assert handler.threads.items() == [(0, 1)]
        assert handler.generation.value == 0


def test_plain_users_have_single_directories_or_nothing(stage: Stage) -> None:
    def listen() -> list[str]:
        with Group(engine=stage.engine) as group:
            group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            ears = stage.ears(group)
            stage.other(actions.touch, directory / "file")
            return paths(ears.hear(directory), Mask.CREATE, directory)

    (directory,) = stage.dirs("directory")
    make_reachable(directory)
    if stage.engine == "kernel":
        with pytest.raises(NotPermitted):
            as_nobody(listen)
    else:
        assert as_nobody(listen) == ["file"]


def test_what_an_attached_subtree_leaves_out_is_counted_here_or_in_the_kernel(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    group = stage.group()
    stage.mark_whole(group, Mask.CREATE)
    group.attach("monitor-subtree", roots=[root])
    stage.other(actions.make_files, outside, N_TRIES)
    stage.other(actions.touch, root / "file")
    assert [event.path for event in group.read()] == [str(root / "file")]
    in_kernel = group.kernel_counters
    if stage.engine == "kernel":
        assert in_kernel is not None
        assert (group.counters.n_skipped, in_kernel.n_skipped) == (0, N_TRIES)
    else:
        assert (group.counters.n_skipped, in_kernel) == (N_TRIES, None)


def test_what_can_be_denied(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    if stage.engine == "daemon":
        with pytest.raises(NotPermitted, match="denies nothing"):
            guard(root, deny=Mask.CREATE_PERM, engine="daemon")
        return
    if stage.engine == "fanotify":
        with pytest.raises(UnsupportedFeature, match="create_perm"):
            guard(root, deny=Mask.CREATE_PERM, engine="fanotify")
        return
    with guard(root, deny=Mask.CREATE_PERM, engine="kernel"), pytest.raises(PermissionError):
        stage.other(actions.touch, root / "file")
    stage.other(actions.touch, root / "file")


def test_denied_attempts_are_events_or_counted(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    (root / "file").write_bytes(b"x")
    if stage.engine == "daemon":
        with pytest.raises(NotPermitted, match="denies nothing"):
            guard(root, deny=Mask.OPEN_PERM, engine="daemon")
        return
    with guard(root, deny=Mask.OPEN_PERM, engine=stage.engine) as guarded:
        with pytest.raises(PermissionError):
            stage.other(actions.read, root / "file")
        if stage.engine == "fanotify":
            assert [event.path for event in guarded.read(timeout_s=30)] == [str(root / "file")]
            assert guarded.group.counters.n_denied == 0
        else:
            assert guarded.read(timeout_s=0.5) == []
            assert guarded.group.counters.n_denied == 1
