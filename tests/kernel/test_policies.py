"""The policies of ``samples/policies`` in the kernel: the verifier accepts them, and they say what Python says."""

import itertools
import struct

from compiler.native import event_bytes
from fanotify_fastpath.mask import Mask
from policies.canary import Canary
from policies.directories_only import DirectoriesOnly
from policies.filetop import FileTop
from policies.outside_tree import OutsideTree
from policies.rate_limit import SECOND_NS, RateLimit
from policies.scan_on_exec import ScanOnExec

from .test_handlers import Events, check, loaded

SKIPPED, SENT, DENIED = 0, 1, -1
#: inode number, mode and number of links: programs, what is none, and one whose last name was removed
FILES = [(3, 0o100755, 1), (4, 0o100644, 1), (5, 0o010755, 1), (6, 0o100755, 0)]


def test_directories_only() -> None:
    assert check(DirectoriesOnly, [{"mask": mask} for mask in (1, Mask.CREATE, Mask.CREATE | Mask.ONDIR)]) == {0, 1}


def in_seconds(masks: list[Mask]) -> Events:
    """Each of these nine times in each of three seconds, by two processes in turns, and by an unknown one."""
    each = itertools.product(range(3), range(9), (77, 78, 0), masks)
    return [{"mask": mask, "tgid": tgid, "time_ns": s * SECOND_NS + n} for s, n, tgid, mask in each]


def test_rate_limit() -> None:
    assert check(RateLimit, in_seconds([Mask.MODIFY]), per_second=4) == {SKIPPED, SENT}


def test_rate_limit_counts_what_it_leaves_out() -> None:
    with loaded(RateLimit, {"per_second": 4}) as handler:
        for fields in in_seconds([Mask.MODIFY]):
            handler.run(event_bytes(None, **fields))
        with handler.state("n_left_out") as n_left_out, handler.state("left_out") as left_out:
            assert n_left_out.lookup(bytes(4)) == struct.pack("=Q", 3 * 3 * 5)
            assert left_out.lookup(struct.pack("=Q", 78)) == struct.pack("=Q", 3 * 5)


def test_canary() -> None:
    masks = [Mask.MODIFY, Mask.CLOSE_WRITE, Mask.RENAME, Mask.OPEN_PERM]
    assert check(Canary, in_seconds(masks), per_second=100) == {SKIPPED}
    assert check(Canary, in_seconds(masks), per_second=10) == {SKIPPED, SENT, DENIED}


def test_outside_tree() -> None:
    ancestors = [(), (1,), (5, 9, 1), tuple(range(20, 36)), tuple(range(24, 40))]
    events: Events = [{"tgid": tgid, "ancestors": above} for tgid in (0, 9, 10) for above in ancestors]
    events += [{"tgid": 10, "cgroup_id": number} for number in (3, 1 << 40)]
    assert check(OutsideTree, events) == {SENT}
    with loaded(OutsideTree, {}) as handler:
        with handler.state("trees") as trees, handler.state("cgroups") as cgroups:
            for tgid in (9, 39):
                trees.update(struct.pack("=Q", tgid), struct.pack("=Q", 1))
            cgroups.update(struct.pack("=Q", 1 << 40), struct.pack("=Q", 1))
        said = [handler.run(event_bytes(None, **fields)) for fields in events]
    assert said == [1, 1, 0, 1, 0, *[0] * 5, 1, 1, 0, 1, 0, 1, 0]


def test_filetop() -> None:
    with loaded(FileTop, {}) as handler:
        for mask in (Mask.OPEN, Mask.OPEN | Mask.MODIFY, Mask.ATTRIB, Mask.RENAME | Mask.ONDIR):
            assert handler.run(event_bytes(None, mask=mask, tgid=5)) == SKIPPED
        with handler.state("counts") as counts:
            found = {kind: counts.lookup(struct.pack("=QQ", 5, kind)) for kind in (Mask.OPEN, Mask.ATTRIB, Mask.RENAME)}
        assert found == {Mask.OPEN: struct.pack("=Q", 2), Mask.ATTRIB: None, Mask.RENAME: struct.pack("=Q", 1)}


def test_scan_on_exec() -> None:
    files: Events = [
        {},
        {"dev": 1, "inode": 2},
        *({"dev": 1, "inode": n, "mode": mode, "n_links": n_links} for n, mode, n_links in FILES),
    ]
    masks = [Mask.OPEN_EXEC_PERM, Mask.MODIFY, Mask.OPEN_EXEC_PERM, Mask.OPEN_EXEC, Mask.CLOSE_WRITE, Mask.DELETE]
    masks += [Mask.OPEN_PERM, Mask.OPEN_EXEC_PERM, Mask.CREATE | Mask.ONDIR]
    events = [{"mask": mask, **file} for mask in masks for file in files]
    for scans_all in (False, True):
        assert check(ScanOnExec, events, scans_all=scans_all, is_strict=False) == {SKIPPED, SENT}
        assert check(ScanOnExec, events, scans_all=scans_all, is_strict=True) == {SKIPPED, SENT, DENIED}


def test_scan_on_exec_denies_what_its_user_found_bad() -> None:
    with loaded(ScanOnExec, {"scans_all": False, "is_strict": False}) as handler:

        def run(mask: Mask, inode: int, n_links: int = 1) -> int:
            return handler.run(event_bytes(None, mask=mask, dev=1, inode=inode, mode=0o100755, n_links=n_links))

        assert run(Mask.CLOSE_WRITE, 5) == SENT
        with handler.state("bad") as bad, handler.state("unscanned") as unscanned:
            assert unscanned.lookup(struct.pack("=QQ", 1, 5)) == struct.pack("=Q", 1)
            bad.update(struct.pack("=QQ", 1, 5), struct.pack("=Q", 1))
            assert [run(Mask.OPEN_PERM, inode) for inode in (5, 6)] == [DENIED, SKIPPED]
            assert run(Mask.DELETE, 5, n_links=0) == SKIPPED
            assert bad.lookup(struct.pack("=QQ", 1, 5)) is None
            assert unscanned.lookup(struct.pack("=QQ", 1, 5)) is None
        assert run(Mask.OPEN_PERM, 5) == SKIPPED
