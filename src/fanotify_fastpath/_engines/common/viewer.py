"""
Who looks at the events of a group, when that is not whoever opened it: an ordinary user, served by a daemon.

An engine with a viewer asks it about every event, at the event's place in the stream, and delivers what it returns.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fanotify_fastpath.events import NOBODY, Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import Root

if TYPE_CHECKING:
    from fanotify_fastpath._engines.common.superblock import Superblock
    from fanotify_fastpath._engines.fanotify.interest import Interest
    from fanotify_fastpath._engines.fanotify.raw import Raw
    from fanotify_fastpath._engines.fanotify.sender import Finding
    from fanotify_fastpath._engines.fanotify.tree import Directory, Tree

#: the root sets in which an object lies, by ``RootSet.set_id``
Inside = frozenset[int]
NOWHERE: Inside = frozenset()


class Seen(Event):
    """
    An event as a viewer sees it.

    :ivar inside: ids of the root sets that the object lies in; for a rename, afterwards
    :ivar old_inside: for a rename: those that it lay in before; else empty
    """

    __slots__ = ("inside", "old_inside")

    def __init__(self, event: Event, inside: Inside = NOWHERE, old_inside: Inside = NOWHERE) -> None:
        super().__init__(
            event.mask,
            event.raw_path,
            event.raw_old_path,
            event.crossing,
            event.is_dir,
            event.tgid,
            event.tid,
            event.process,
            event.dev,
            event.inode,
            event.time_ns,
            event.undecided,
            event.lost,
            event.engine,
        )
        self.inside = inside
        self.old_inside = old_inside

    def hide_process(self) -> None:
        """Tell nothing of who did it."""
        self.tgid, self.tid = 0, None
        self.process: Process = NOBODY


class Viewer(Protocol):
    """
    What an engine asks. Every method is called under the engine's lock, by whichever thread reads or changes something.

    :ivar own_tgid: whose accesses are left out unless the group includes its own. Those of the engine's own process are
        left out in any case
    """

    own_tgid: int

    def attach(
        self,
        tree: "Tree",
        interest: "Interest",
        superblocks: "dict[bytes, Superblock]",
        directory: "Callable[[bytes], Directory | None]",
    ) -> None:
        """
        The engine begins.

        :param tree: where directories are, at the place of the stream that the engine has reached
        :param interest: who wants what
        :param superblocks: the filesystems that are watched
        :param directory: finds a directory by identity
        """
        ...

    def see(self, raw: "Raw", found: "Finding", event: Event) -> Seen | None:
        """
        Tell how an event is seen.

        :param raw: the record
        :param found: what was found out about it
        :param event: what would be delivered without a viewer
        :return: what is delivered, None when it is withheld
        """
        ...

    def hides(self, dir_key: bytes) -> bool:
        """Tell whether all that happens to files in that directory is withheld, until rights or places change."""
        ...

    def tell(self, event: Event, key: bytes | None) -> list[Event]:
        """
        Tell how an event about the stream itself is seen.

        :param event: its path is that of a directory or mount; None for an overflow
        :param key: identity of the directory, the root or the filesystem's top, where there is one
        :return: what is delivered
        """
        ...

    def may_watch(self, root: Root) -> bool | None:
        """
        Tell whether what happens to a marked object (scope inode), or directly in it, is seen now.

        :return: None when that cannot be told, because the object is gone
        """
        ...

    def rights_changed(self, key: bytes | None) -> bool:
        """
        The owner, the mode or the access control list of an object has changed, or may have.

        :param key: its identity; None: any object's
        :return: True when it is a directory that hid what it holds, and does no longer
        """
        ...

    def moved(self, raw: "Raw") -> bool:
        """
        A directory was renamed.

        :return: True when what it holds was withheld before for where it stood
        """
        ...

    def removed(self, key: bytes) -> None:
        """A directory was removed for good; records about it may still come."""
        ...

    def stands(self, root: Root) -> None:
        """A root stands where it stands now."""
        ...

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        ...


#: rights follow from these, so they are asked for with each filesystem that somebody views
RIGHTS = int(Mask.ATTRIB | Mask.ONDIR)
