"""
What a record means: keep the model up to date, decide who wants it, remember in the kernel what nobody wants.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._engines.common.viewer import Viewer
from fanotify_fastpath._engines.fanotify.discovery import Discovery
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.kernel_group import NEVER_IGNORED, KernelGroup
from fanotify_fastpath._engines.fanotify.merging import repeated
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.sender import Finding, Sender
from fanotify_fastpath._engines.fanotify.sequence import Sequence
from fanotify_fastpath._engines.fanotify.tree import NOWHERE, Directory, Inside, Tree
from fanotify_fastpath.events import Crossing, Event
from fanotify_fastpath.mask import EVENT_FLAGS, Mask
from fanotify_fastpath.roots import FSID_BYTES

_RENAME: Final = int(Mask.RENAME)
_CREATE: Final = int(Mask.CREATE)
_DELETE: Final = int(Mask.DELETE)
_ONDIR: Final = int(Mask.ONDIR)
_ATTRIB: Final = int(Mask.ATTRIB)
_OVERFLOW: Final = int(Mask.Q_OVERFLOW)
_TYPES: Final = ~int(EVENT_FLAGS)
_SELF: Final = b"."
#: an ignore mark that was evicted is put back no sooner than this
_REMEMBER_AGAIN_NS: Final = 1_000_000_000


class Judge:
    """
    Decides about the records of one kernel group that holds filesystem marks.

    :param group: where what nobody wants is remembered
    :param sender: takes each event that somebody wants
    """

    def __init__(
        self,
        group: KernelGroup,
        sequence: Sequence,
        tree: Tree,
        discovery: Discovery,
        interest: Interest,
        sender: Sender,
    ) -> None:
        self._group = group
        self._sequence = sequence
        self._doubtful = sequence.renames.doubtful
        self._gain_moment = 0
        self._tree = tree
        self._discovery = discovery
        self._interest = interest
        self._sender = sender
        self._counters = sender.counters
        self._superblocks = sender.superblocks
        self._viewer = sender.viewer
        self.on_root_gone: Callable[[bytes, bytes | None], None] = lambda key, path: None

    def judge(self, raw: Raw) -> None:
        """Decide about one record."""
        mask = raw.mask
        shown = self._note_rights(self._viewer, raw) if self._viewer is not None and mask & _ATTRIB else None
        if mask & _DELETE and raw.obj is None:
            raw.obj = self._object_removed(raw)
        if mask & _OVERFLOW:
            self.overflow(raw.pid or None)
        elif mask & _RENAME and raw.dir is not None and raw.dir2 is not None:
            self._judge_rename(raw, raw.dir, raw.dir2)
        elif raw.dir is None:
            self._judge_without_directory(raw)
        else:
            self._judge_entry(raw, raw.dir)
        if mask & _DELETE and raw.obj is not None:
            self._removed(raw, raw.obj)
        if shown is not None:
            self._rescan(self._discovery.directory(shown), raw.pid)

    def _note_rights(self, viewer: Viewer, raw: Raw) -> bytes | None:
        """
        Rights have changed.

        :return: identity of a directory of which the kernel has dropped what the viewer may see now
        """
        if not raw.mask & _ONDIR:
            return None
        key = raw.dir if raw.name == _SELF else raw.obj
        if not viewer.rights_changed(key):
            return None
        self._group.forget()
        self._gain_moment = self._sequence.now()
        return key

    def _object_removed(self, raw: Raw) -> bytes | None:
        """
        Find out what was removed, where the kernel does not tell its identity (overlayfs in Linux 6.1).

        :return: None unless it is a directory of which the place is known, or a root
        """
        is_dir = raw.mask & _ONDIR != 0
        known = self._tree.directory_at(raw.place) if is_dir else None
        if known is not None or raw.dir is None:
            return known
        fsid = raw.dir[:FSID_BYTES]
        for key, root in self._tree.roots():
            is_like_it = root.is_dir == is_dir and os.path.basename(root.path) == raw.name
            if is_like_it and key[:FSID_BYTES] == fsid and self._is_gone(key):
                return key
        return None

    def _judge_entry(self, raw: Raw, dir_key: bytes) -> None:
        """An event on an entry of a directory, or on the directory itself."""
        if self._sender.is_own(raw):
            return
        node = self._tree.get(dir_key) or self._discovery.directory(dir_key)
        if node is None:
            self._send_undecided(raw, None, raw.name)
            return
        if node.epoch != self._tree.epoch:
            self._tree.settle(node)
        if node.want_file < 0:
            self._interest.settle(node)
        inside = node.inside
        is_dir = raw.mask & _ONDIR
        if is_dir and raw.mask & _CREATE and raw.obj is not None and raw.name is not None:
            self._tree.created(raw.obj, node, raw.name)
        want = node.want_dir if is_dir else node.want_file
        if self._tree.is_point(raw.obj):
            inside = self._tree.inside_of(inside, raw.obj)
            want = self._interest.wanted(inside, dir_key[:FSID_BYTES])[1 if is_dir else 0]
        in_doubt = self._doubts(node) if self._doubtful else None
        if in_doubt is not None:
            want |= in_doubt[1 if is_dir else 0]
        types = raw.mask & want
        if not types:
            self._counters.n_skipped += 1
            if not is_dir and in_doubt is None:
                self._remember(node, ~node.want_file)
            return
        name = None if raw.name == _SELF else raw.name
        path = node.path if name is None else node.child_path(name)
        if in_doubt is not None:
            self._sender.send(raw, Finding(types, node.name if name is None else name, path))
            return
        skipped_all = self._sender.send(raw, Finding(types, node.name if name is None else name, path, inside))
        if skipped_all and not is_dir:
            self._remember(node, -1)

    def _doubts(self, node: Directory) -> tuple[int, int] | None:
        """
        Tell whether the place of a directory is in doubt, because one above may stand elsewhere.

        :return: everything that may be wanted, for files and for directories; None when nothing is in doubt
        """
        at: Directory | None = node
        while at is not None and at.key not in self._doubtful:
            at = at.parent
        if at is None:
            return None
        moved = self._tree.settle(at)
        gained, lost = node.inside - moved.inside, moved.inside - node.inside
        places = {raw.dir for raw in self._doubtful[at.key]} | {raw.dir2 for raw in self._doubtful[at.key]}
        for_files = for_dirs = 0
        for key in places:
            inside = self._inside_at(self._discovery.directory(key) if key is not None else None, at.key)
            wanted = self._interest.wanted(((inside or NOWHERE) | gained) - lost, node.key[:FSID_BYTES])
            for_files, for_dirs = for_files | wanted[0], for_dirs | wanted[1]
        return for_files, for_dirs

    def _judge_without_directory(self, raw: Raw) -> None:
        """An event on an inode of which no directory is known."""
        if raw.mask == _ATTRIB and not self._tree.is_point(raw.obj):
            # a change of the link count comes beside the CREATE or DELETE of the name, and names no directory
            self._counters.n_skipped += 1
            return
        if self._sender.is_own(raw):
            return
        fsid = raw.obj[:FSID_BYTES] if raw.obj is not None else b""
        inside = self._tree.inside_of(NOWHERE, raw.obj)
        for_files, for_dirs = self._interest.wanted(inside, fsid)
        types = raw.mask & (for_dirs if raw.mask & _ONDIR else for_files)
        if types and (inside or not self._interest.has_handler_sets()):  # a root itself, or the whole filesystem
            root = self._tree.root_of(raw.obj)
            self._sender.send(raw, Finding(types, None, None if root is None else root.path, inside))
        elif types or not inside:
            self._send_undecided(raw, None, None)

    def _judge_rename(self, raw: Raw, old_key: bytes, new_key: bytes) -> None:
        """A rename: two directories, two paths, perhaps a border between them."""
        is_dir = bool(raw.mask & _ONDIR)
        old, new = self._discovery.directory(old_key), self._discovery.directory(new_key)
        fsid = old_key[:FSID_BYTES]
        is_expected = raw.is_repeat or raw.obj in self._doubtful
        missed = is_dir and not is_expected and self._tree.is_elsewhere(raw.obj, raw.dir, raw.name)
        before = self._inside_at(old, raw.obj)
        old_path = self._path_at(old, raw.name, raw.obj)
        was_hidden = is_dir and self._viewer is not None and self._viewer.moved(raw)
        if is_dir and raw.obj is not None:
            self._move_directory(raw, raw.obj, new)
        after = self._inside_at(new, raw.obj)
        new_path = new.child_path(raw.name2) if new is not None and raw.name2 is not None else None
        if is_dir and old_path is not None and new_path is not None:
            self._move_mountpoints(old_path, new_path)
        if missed or (self._doubtful and any(self._doubts(side) for side in (old, new) if side is not None)):
            before = None
        gains = was_hidden or (is_dir and self._gains(before, after, fsid))
        if gains or (is_dir and before != after):
            self._group.forget()
        must_rescan = gains or (is_dir and after is not None and self._may_hold_gains(after, fsid))
        if gains:
            self._gain_moment = self._sequence.now()
        if not self._sender.is_own(raw):
            self._send_rename(raw, before, after, old_path, new_path, fsid)
        if must_rescan and new_path is not None:
            self._counters.n_rescans += 1
            self._sender.emit(Event(Mask.RESCAN, new_path, is_dir=True), raw.pid, raw.obj)

    def _may_hold_gains(self, inside: Inside, fsid: bytes) -> bool:
        """
        Tell whether a directory that is renamed inside had come there before the kernel was told to drop nothing there.

        Its coming was told, and its place at that time. What was dropped after this rename lies at the new place.
        """
        return not self._sequence.has_passed(self._gain_moment) and self._interest.is_watched(inside, fsid)

    def _gains(self, before: Inside | None, after: Inside | None, fsid: bytes) -> bool:
        """Tell whether a directory's files may have been dropped in the kernel though now they are wanted."""
        if before is None or after is None or self._interest.has_directory_handlers:
            return True
        wanted_before, wanted_after = self._interest.wanted(before, fsid), self._interest.wanted(after, fsid)
        return any(b & ~a for b, a in zip(wanted_after, wanted_before, strict=True)) or bool(after - before)

    def _send_rename(
        self, raw: Raw, before: Inside | None, after: Inside | None, old: bytes | None, new: bytes | None, fsid: bytes
    ) -> None:
        if before is None or after is None:
            self._send_undecided(raw, new, raw.name2, old)
            return
        n = 1 if raw.mask & _ONDIR else 0
        want = self._interest.wanted(before, fsid)[n] | self._interest.wanted(after, fsid)[n]
        if not raw.mask & want & _TYPES:
            self._counters.n_skipped += 1
            return
        crossing: Crossing | None = None
        if self._interest.has_subtrees():
            was, is_now = self._interest.is_watched(before, fsid), self._interest.is_watched(after, fsid)
            crossing = None if was == is_now else "in" if is_now else "out"
        self._sender.send(raw, Finding(_RENAME, raw.name2, new, before, after, old, crossing, raw.is_repeat))

    def _move_directory(self, raw: Raw, key: bytes, new: Directory | None) -> None:
        overwritten = self._tree.root_at(raw.new_place)
        if overwritten is not None and overwritten != key:
            self._root_gone(overwritten)
        self._tree.move(key, new, raw.name2 or b"")
        if new is not None:
            self._tree.settle(new)

    def _move_mountpoints(self, old: bytes, new: bytes) -> None:
        """What is mounted below a renamed directory has another path now, and no mount event tells."""
        for superblock in self._superblocks.values():
            mountpoint = superblock.mount.mountpoint
            if mountpoint.startswith(old + b"/"):
                superblock.mount = dataclasses.replace(superblock.mount, mountpoint=new + mountpoint[len(old) :])
                self._tree.add_top(superblock.top_key, superblock.mount.mountpoint)

    def _removed(self, raw: Raw, key: bytes) -> None:
        """An entry was removed: a directory for good, a file perhaps by its last name."""
        if raw.mask & _ONDIR:
            self._tree.remove(key)
            if self._viewer is not None:
                self._viewer.removed(key)
        elif not self._tree.is_point(key) or not self._is_gone(key):
            return
        if self._tree.is_point(key):
            self._root_gone(key)

    def _root_gone(self, key: bytes) -> None:
        node, root = self._tree.get(key), self._tree.root_of(key)
        path = self._tree.settle(node).path if node is not None else root.path if root is not None else None
        self.on_root_gone(key, path)

    def _is_gone(self, key: bytes) -> bool:
        superblock = self._superblocks.get(key[:FSID_BYTES])
        if superblock is None:
            return True
        try:
            os.close(superblock.open_handle(key))
        except OSError:
            return True
        return False

    def overflow(self, lost: int | None) -> None:
        """Events were lost, perhaps renames among them: nothing that is known of the tree still holds."""
        self._group.forget()
        self._tree.forget()
        self._counters.n_overflows += 1
        self._counters.n_lost += 1 if lost is None else lost
        self._sender.emit(Event(Mask.Q_OVERFLOW, None, lost=lost), 0)

    def settle_doubts(self, chains: list[list[Raw]]) -> None:
        """
        Objects were renamed to and fro, and all records of that have been given out: see where each one stands.

        Renames that turn out to have vanished are delivered again. What happened in between may have been told of a
        wrong place, so the directories concerned are to be read anew.

        :param chains: the renames of each object
        """
        concerned: dict[bytes, int] = {}
        for chain in chains:
            last = chain[-1]
            place = self._discovery.place(last.obj or b"", [raw.new_place for raw in reversed(chain)])
            if place is not None:
                for raw in repeated(chain, place):
                    self.judge(raw)
            for raw in chain:
                concerned[raw.dir or b""] = concerned[raw.dir2 or b""] = last.pid
        for key, pid in concerned.items():
            self._rescan(self._discovery.directory(key), pid)

    def _rescan(self, directory: Directory | None, pid: int) -> None:
        """Have a directory read anew, if it is watched."""
        if directory is not None:
            node = self._tree.settle(directory)
            if self._interest.is_watched(node.inside, node.key[:FSID_BYTES]):
                self._counters.n_rescans += 1
                self._sender.emit(Event(Mask.RESCAN, node.path, is_dir=True), pid, node.key)

    def _inside_at(self, directory: Directory | None, obj: bytes | None) -> Inside | None:
        if directory is None:
            return None
        return self._tree.inside_of(self._tree.settle(directory).inside, obj)

    def _path_at(self, directory: Directory | None, name: bytes | None, obj: bytes | None) -> bytes | None:
        root = self._tree.get(obj) if obj is not None and self._tree.is_point(obj) else None
        if root is not None:
            return self._tree.settle(root).path
        return directory.child_path(name) if directory is not None and name is not None else None

    def _remember(self, node: Directory, unwanted: int) -> None:
        """Nobody wants these event types for files in this directory: let the kernel drop them from now on."""
        is_fresh = (
            node.remembered_ns > self._group.forgot_ns and self._sender.now_ns - node.remembered_ns < _REMEMBER_AGAIN_NS
        )
        if is_fresh or not self._interest.may_remember(node):
            return
        at: Directory | None = node
        while at is not None:
            if self._sequence.is_coming(at.key):  # the model is behind: it may be wanted by now
                return
            at = at.parent
        superblock = self._superblocks.get(node.key[:FSID_BYTES])
        asked = self._interest.kernel_mask(node.key[:FSID_BYTES]) & _TYPES & ~NEVER_IGNORED & unwanted
        if superblock is None or not asked:
            return
        node.remembered_ns = self._sender.now_ns
        with contextlib.suppress(OSError):
            fd = superblock.open_handle(node.key)
            try:
                if self._group.remember(fd, asked):
                    self._counters.n_remembered += 1
            finally:
                os.close(fd)

    def _send_undecided(self, raw: Raw, path: bytes | None, name: bytes | None, old_path: bytes | None = None) -> None:
        types = raw.mask & _TYPES & self._interest.kernel_mask((raw.dir or raw.obj or b"")[:FSID_BYTES])
        if types:
            self._sender.send(raw, Finding(types, name, path, old_path=old_path))
