"""
What one user sees of the events of one group: what the user could have found out without the daemon, and no more.

An event is shown when the user may list and search the directory that its name is in, and every directory from there up
to a root that the user has shown to have access to. That is asked of the kernel when an event comes, and kept until the
kernel reports a change of the directory's rights; both in the order of the stream.
"""

from collections.abc import Callable

from fanotify_fastpath._daemon.access import Credentials
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.common.viewer import Seen
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.sender import Finding
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree
from fanotify_fastpath.events import Event
from fanotify_fastpath.roots import Root


class Sight:
    """
    The view of one user (:class:`~fanotify_fastpath._engines.common.viewer.Viewer`), for one group.

    Made before the engine, which is given it as ``viewer``. Every event that the engine then delivers is a
    :class:`~fanotify_fastpath._engines.common.viewer.Seen`, except that an overflow of its store may be a plain event.

    :param credentials: the user; user 0 sees everything
    :param own_tgid: the client's process, whose accesses are left out unless the group includes its own; 0: unknown
    :ivar n_withheld: events that were not shown. A user is not to be told: it says how busy others are
    """

    def __init__(self, credentials: Credentials, own_tgid: int) -> None:
        self.credentials = credentials
        self.own_tgid = own_tgid
        self.n_withheld = 0

    def name(self, root: Root, client_path: bytes) -> Root:
        """
        A root that the user has shown to have access to, or a marked object: called before the engine is given it.

        :param root: its identity
        :param client_path: what the client calls it, which is what its events are told by
        :return: the same root with that path; the engine may be given either
        """
        raise NotImplementedError

    def unname(self, key: bytes) -> None:
        """The root of that identity is in none of the client's sets or marks any more. Others need not be unnamed."""
        raise NotImplementedError

    # --- for the engine ---

    def attach(
        self,
        tree: Tree,
        interest: Interest,
        superblocks: dict[bytes, Superblock],
        directory: Callable[[bytes], Directory | None],
    ) -> None:
        """The engine begins."""
        raise NotImplementedError

    def see(self, raw: Raw, found: Finding, event: Event) -> Seen | None:
        """Tell how an event is seen."""
        raise NotImplementedError

    def hides(self, dir_key: bytes) -> bool:
        """Tell whether all that happens to files in that directory is withheld, until rights or places change."""
        raise NotImplementedError

    def tell(self, event: Event, key: bytes | None) -> list[Event]:
        """Tell how an event about the stream itself is seen."""
        raise NotImplementedError

    def may_watch(self, root: Root) -> bool:
        """Tell whether what happens to a marked object, or directly in it, is seen now."""
        raise NotImplementedError

    def rights_changed(self, key: bytes | None) -> bool:
        """The rights of an object have changed; tell whether it hid what it holds, and does no longer."""
        raise NotImplementedError

    def moved(self, raw: Raw) -> bool:
        """A directory was renamed; tell whether what it holds was withheld for where it stood."""
        raise NotImplementedError

    def stands(self, root: Root) -> None:
        """A root stands where it stands now."""
        raise NotImplementedError

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        raise NotImplementedError
