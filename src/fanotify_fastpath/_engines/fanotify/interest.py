"""Who wants what: the marks of one group, and what follows from them for a directory and for the kernel's mask."""

from typing import Final

from fanotify_fastpath._engines.common.viewer import RIGHTS
from fanotify_fastpath._engines.fanotify.tree import Directory, Inside
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.handlers import Depends
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, RootSet

#: asked for with every filesystem mark, because the model of the tree lives on them
STRUCTURE: Final = Mask.RENAME | Mask.DELETE | Mask.ONDIR


class Interest:
    """
    The marks of scope subtree and filesystem, and the root sets of the handlers.

    :param is_viewed: the group has a viewer, who decides by rights and knows itself what the handlers' sets mean
    :ivar sets: all root sets in use
    :ivar structure: event types that are asked for with every filesystem mark
    """

    def __init__(self, *, is_viewed: bool = False) -> None:
        self.structure = int(STRUCTURE) | RIGHTS if is_viewed else int(STRUCTURE)
        self._is_viewed = is_viewed
        self.marks: list[Mark] = []
        self.chain: Chain | None = None
        self._wanted: dict[tuple[Inside, bytes], tuple[int, int]] = {}
        self._handler_sets: list[int] = []
        self._kernel_masks: dict[bytes, int] = {}
        self.sets: list[RootSet] = []
        self.has_directory_handlers = False

    def rebuild(self) -> None:
        """Marks, handlers or root sets have changed."""
        self._wanted.clear()
        self._kernel_masks.clear()
        attachments = self.chain.attachments if self.chain is not None else ()
        handler_sets = [roots for a in attachments for roots in a.handler.root_sets()]
        self._handler_sets = [roots.set_id for roots in handler_sets]
        self.has_directory_handlers = any(
            a.handler.depends is Depends.DIRECTORY and not a.handler.root_sets() for a in attachments
        )
        self.sets = [mark.roots for mark in self.marks if mark.scope is Scope.SUBTREE] + handler_sets

    def wanted(self, inside: Inside, fsid: bytes) -> tuple[int, int]:
        """Return the event types wanted for files, and for directories, that are in these root sets."""
        found = self._wanted.get((inside, fsid))
        if found is None:
            for_files = for_dirs = 0
            for mark in self.marks:
                if mark.scope is Scope.SUBTREE:
                    covers = mark.roots.set_id in inside
                else:
                    covers = mark.root.key[:FSID_BYTES] == fsid
                if covers:
                    for_files |= mark.types
                    for_dirs |= mark.types if mark.mask & Mask.ONDIR else 0
            found = self._wanted[inside, fsid] = (for_files, for_dirs)
        return found

    def settle(self, node: Directory) -> None:
        """Fill in what is wanted in a directory whose place was just settled."""
        node.want_file, node.want_dir = self.wanted(node.inside, node.key[:FSID_BYTES])

    def is_watched(self, inside: Inside, fsid: bytes) -> bool:
        """Tell whether an object in these root sets is watched at all, handlers' sets included."""
        if not any(self.wanted(inside, fsid)):
            return False
        return self._is_viewed or all(set_id in inside for set_id in self._handler_sets)

    def has_handler_sets(self) -> bool:
        """Tell whether handlers ask about root sets."""
        return bool(self._handler_sets)

    def has_subtrees(self) -> bool:
        """Tell whether anything can cross a border."""
        return bool(self._handler_sets) or any(mark.scope is Scope.SUBTREE for mark in self.marks)

    def kernel_mask(self, fsid: bytes) -> int:
        """Return the mask that the filesystem's mark needs, 0 if nobody wants anything of it."""
        mask = self._kernel_masks.get(fsid)
        if mask is None:
            mask = 0
            for mark in self.marks:
                is_subtree = mark.scope is Scope.SUBTREE
                if mark.roots.on_filesystem(fsid) if is_subtree else mark.root.key[:FSID_BYTES] == fsid:
                    mask |= int(mark.mask)
            mask = self._kernel_masks[fsid] = mask | self.structure if mask else 0
        return mask

    def may_remember(self, node: Directory) -> bool:
        """Tell whether nothing but the directory decides about its files: not so beside a root that is a file."""
        return not any(roots.holds_file_in(node.key) for roots in self.sets)
