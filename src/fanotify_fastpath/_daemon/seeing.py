"""
What one user sees of the events of one group: what the user could have found out without the daemon, and no more.

An event is shown when the user may list and search the directory that its name is in, and every directory from there up
to a root that the user has shown to have access to. That is asked of the kernel when an event comes (``rights``), and
paths are told as the client calls its roots (``places``).
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._daemon.access import Credentials
from fanotify_fastpath._daemon.places import HIDDEN, OUTSIDE, SHOWN, UNSURE, Place, Places
from fanotify_fastpath._daemon.rights import Rights
from fanotify_fastpath._engines.common.superblock import Superblock
from fanotify_fastpath._engines.common.viewer import NOWHERE, Inside, Seen
from fanotify_fastpath._engines.fanotify.interest import Interest
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.sender import Finding
from fanotify_fastpath._engines.fanotify.tree import Directory, Tree
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import FSID_BYTES, Root

_RENAME: Final = int(Mask.RENAME)
_SELF: Final = b"."
#: what happens to a name, not to the object
_OF_NAMES: Final = Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.RENAME
#: hiding directories that are kept; past it, the kernel is asked to drop nothing for further ones
_MAX_HIDERS: Final = 1 << 16


class Sight:
    """
    The view of one user (:class:`~fanotify_fastpath._engines.common.viewer.Viewer`), for one group.

    Made before the engine, which is given it as ``viewer``. Every event that the engine then delivers is a
    :class:`~fanotify_fastpath._engines.common.viewer.Seen`, except that an overflow of its store is a plain event.

    :param credentials: the user; user 0 sees everything
    :param own_tgid: the client's process, whose accesses are left out unless the group includes its own; 0: unknown
    :param tells_processes: the client numbers processes as we do; else no event tells one
    :ivar n_withheld: events that were not shown. A user is not to be told: it says how busy others are
    """

    def __init__(self, credentials: Credentials, own_tgid: int, *, tells_processes: bool = True) -> None:
        self.credentials = credentials
        self.own_tgid = own_tgid
        self.n_withheld = 0
        self._sees_all = credentials.uid == 0
        self._tells_processes = tells_processes
        self._rights = Rights(credentials)
        self._places = Places(self._rights)
        self._hiders: set[bytes] = set()

    def name(self, root: Root, client_path: bytes) -> Root:
        """
        A root that the user has shown to have access to, or a marked object: called before the engine is given it.

        :param root: its identity
        :param client_path: what the client calls it, which is what its events are told by
        :return: the same root with that path, for the engine
        """
        named = dataclasses.replace(root, path=client_path)
        self._places.name(named, (root.parent_key, os.path.basename(root.path)))
        return named

    def unname(self, key: bytes) -> None:
        """The root of that identity is in none of the client's sets or marks any more."""
        self._places.unname(key)

    # --- for the engine ---

    def attach(
        self,
        tree: Tree,
        interest: Interest,
        superblocks: dict[bytes, Superblock],
        directory: Callable[[bytes], Directory | None],
    ) -> None:
        """The engine begins."""
        self._rights.superblocks = superblocks
        self._places.attach(tree, interest, directory)
        self._interest = interest

    def see(self, raw: Raw, found: Finding, event: Event) -> Seen | None:
        """Tell how an event is seen."""
        if found.is_by_object:
            return self._see_by_object(found, event)
        if found.inside is None and not self._sees_all:
            return self._see_undecided(raw, event)
        if raw.mask & _RENAME and raw.dir2 is not None:
            return self._see_rename(raw, found, event)
        place = self._place_of(raw, event)
        if not self._is_shown(place, event):
            self._withhold(place)
            return None
        seen = self._show(event, found.inside)
        if place.path is not None or not self._sees_all:
            seen.raw_path = place.path
        return seen

    def hides(self, dir_key: bytes) -> bool:
        """Tell whether all that happens to files in that directory is withheld, until rights or places change."""
        place = self._places.of(dir_key)
        return place.state == HIDDEN and place.hider in self._hiders

    def tell(self, event: Event, key: bytes | None) -> list[Event]:
        """Tell how an event about the stream itself is seen."""
        if event.mask & Mask.Q_OVERFLOW:
            self.rights_changed(None)
            if not self._sees_all:  # what was lost need not have been shown
                event.lost = None
        elif not self._sees_all:
            paths = self._told_paths(event, key)
            self.n_withheld += not paths
            return [self._told(event, path) for path in paths]
        return [self._show(event)]

    def may_watch(self, root: Root) -> bool | None:
        """Tell whether what happens to a marked object, or directly in it, is seen now; None when it is gone."""
        return self._rights.may_use(root.key, is_dir=root.is_dir)

    def rights_changed(self, key: bytes | None) -> bool:
        """The rights to an object have changed; tell whether it hid what it holds, and does no longer."""
        if self._rights.changed(key):
            self._places.forget()
        if key in self._hiders and self._rights.may_enter(key):
            self._hiders.discard(key)
            return True
        return False

    def moved(self, raw: Raw) -> bool:
        """A directory was renamed; tell whether what it holds was withheld for where it stood."""
        place = self._places.of(raw.dir)
        return place.state != SHOWN and place is not OUTSIDE

    def removed(self, key: bytes) -> None:
        """A directory was removed for good."""
        self._hiders.discard(key)

    def stands(self, root: Root) -> None:
        """A root stands where it stands now."""
        self._places.stands(root)

    def mounts_changed(self) -> None:
        """Something was mounted, unmounted or moved."""
        self._places.mounts_changed()

    # --- within ---

    def _place_of(self, raw: Raw, event: Event) -> Place:
        """Where the object is, for what is no rename; takes out of the event what is not about it."""
        is_self = raw.name == _SELF
        key = raw.dir if is_self else raw.obj
        place = self._places.of_directory(key) if is_self else self._places.of(raw.dir).entry(raw.name)
        if place.state == SHOWN or key is None or not self._places.is_named(key):
            return place
        # the name is not for the user to know, but the object is
        is_home = is_self or self._places.is_home(key, raw.place)
        if not is_home:
            event.mask &= ~_OF_NAMES
        if is_home and event.mask & Mask.DELETE:  # that it is gone is told in any case
            return Place(SHOWN, self._places.last_path(key))
        return self._places.of_root(key) if event.mask else OUTSIDE

    def _see_undecided(self, raw: Raw, event: Event) -> Seen | None:
        """What may have been elsewhere, where the user has no right: only what the user did is told."""
        if not self._is_surely_own(event):
            self._withhold()
            return None
        name = None if raw.name == _SELF else raw.name
        place = self._places.of(raw.dir).entry(name) if raw.dir2 is None else OUTSIDE
        seen = self._show(event)
        seen.raw_path, seen.raw_old_path = place.path if place.state == SHOWN else None, None
        return seen

    def _see_rename(self, raw: Raw, found: Finding, event: Event) -> Seen | None:
        old = self._side(raw, raw.place, is_new=False)
        new = self._side(raw, raw.new_place, is_new=True)
        key = raw.obj
        if key is not None and not event.is_dir and self._places.is_named(key) and self._places.is_home(key, raw.place):
            self._places.moved_file(key, raw.new_place, new.path if self._is_shown(new, event) else None)
        if self._sees_all:
            seen = self._show(event, found.inside2, found.inside)
            seen.raw_path, seen.raw_old_path = new.path or event.raw_path, old.path or event.raw_old_path
            return seen
        is_old, is_new = self._is_shown(old, event), self._is_shown(new, event)
        seen = self._show(event, found.inside2 if is_new else None, found.inside if is_old else None)
        seen.raw_path, seen.raw_old_path = new.path if is_new else None, old.path if is_old else None
        fsid, n = (raw.dir or b"")[:FSID_BYTES], 1 if event.is_dir else 0
        before, after = (self._interest.wanted(sets, fsid)[n] for sets in (seen.old_inside, seen.inside))
        if not event.mask & (before | after):
            self._withhold(old, new)
            return None
        was, is_now = (any(self._interest.wanted(sets, fsid)) for sets in (seen.old_inside, seen.inside))
        seen.crossing = None if was == is_now else "in" if is_now else "out"
        return seen

    def _side(self, raw: Raw, at: tuple[bytes | None, bytes | None], *, is_new: bool) -> Place:
        """Where a renamed object was, or is."""
        key, (dir_key, name) = raw.obj, at
        place = self._places.of(dir_key).entry(name)
        if place.state == SHOWN:
            return place
        if key is not None and self._places.is_named(key) and self._places.is_home(key, at):
            path = self._places.last_path(key)
            root = self._places.of_root(key)
            return root if is_new else root._replace(path=path)
        if place is OUTSIDE and name is not None:
            path_there = self._places.natural_path(dir_key)
            if path_there is not None:
                return Place(SHOWN, path_there).entry(name)
        return place

    def _see_by_object(self, found: Finding, event: Event) -> Seen | None:
        """What a marked object led to: its right was looked at, and paths begin with what the client calls it."""
        if found.is_unproven and not self._is_surely_own(event):
            event.mask &= Mask.DELETE_SELF
        if not event.mask:
            self._withhold()
            return None
        if found.types & _RENAME:
            return self._show(event, found.inside2, found.inside)
        return self._show(event, found.inside)

    def _told_paths(self, event: Event, key: bytes | None) -> list[bytes]:
        """What the client calls that which an event about the stream is about; empty when it is not to know."""
        if event.mask & Mask.UNMOUNT and key is not None:
            return self._places.on_filesystem(key[:FSID_BYTES])
        if key is not None and event.mask & Mask.ROOT_GONE and self._places.is_named(key):
            return [self._places.last_path(key)]
        if key is not None and event.mask & Mask.RESCAN:
            place = self._places.of(key)
            return [place.path] if place.state == SHOWN and place.path is not None else []
        path = event.raw_path  # below a root, whose name it begins with
        whole = bool(event.mask & Mask.RESCAN)
        return [path] if path is not None and self._places.may_descend(path, whole=whole) else []

    def _is_shown(self, place: Place, event: Event) -> bool:
        if place.state == UNSURE:
            return self._is_surely_own(event)
        return place.state == SHOWN or self._sees_all

    def _is_own(self, event: Event) -> bool:
        """Tell whether a process of the user did it."""
        return event.process.uid == self.credentials.uid

    def _is_surely_own(self, event: Event) -> bool:
        """Tell whether it did without a doubt: of threads only a number is known, which another may have by now."""
        return event.tid is None and self._is_own(event)

    def _withhold(self, *places: Place) -> None:
        self.n_withheld += 1
        for place in places:
            if place.state == HIDDEN and place.hider is not None and len(self._hiders) < _MAX_HIDERS:
                self._hiders.add(place.hider)

    def _told(self, event: Event, path: bytes) -> Seen:
        seen = self._show(event)
        seen.raw_path = path
        return seen

    def _show(self, event: Event, inside: Inside | None = None, old_inside: Inside | None = None) -> Seen:
        seen = Seen(event, inside or NOWHERE, old_inside or NOWHERE)
        if not self._tells_processes or not (self._sees_all or self._is_own(event)):
            seen.hide_process()
        return seen
