"""
What a user may do through the daemon: the rules of the configuration, applied to the credentials of a connection.

Of all rules that match a user, the first with a key gives that key's value; what no rule says is as in ``[limits]``,
or allowed. The superuser may do everything, and only the limits hold for it: it needs no daemon to watch.
"""

import errno
import grp
import os
import pwd
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from fanotify_fastpath._daemon.config import CONFIG_PATH, DEFAULT_GROUP, Config, Limits, Rule
from fanotify_fastpath._daemon.peer import Credentials
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath.errors import InvalidArgument, NotPermitted
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.mask import EVENT_FLAGS, Mask, mask_names, parse_mask

#: what anybody may ask for whom no rule tells otherwise; permission events are not among them
ALL_EVENTS: Final = Mask.ALL_EVENTS | Mask.MOVED_FROM | Mask.MOVED_TO | Mask.DELETE_SELF | Mask.MOVE_SELF
ALL_SCOPES: Final = frozenset({Scope.SUBTREE, Scope.INODE})
_DEFAULT_LIMITS: Final = Limits()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rights:
    """
    What one user may.

    :ivar uid: the user
    :ivar allowed: may connect
    :ivar events: event types that may be asked for
    :ivar scopes: scopes of marks that may be made
    :ivar roots_below: directories, one of which every root must be or lie in; None: anywhere
    :ivar limits: how much may be used
    :ivar source: the file that says so
    """

    uid: int
    allowed: bool = True
    events: Mask = ALL_EVENTS
    scopes: frozenset[Scope] = ALL_SCOPES
    roots_below: tuple[bytes, ...] | None = None
    limits: Limits = _DEFAULT_LIMITS
    source: str = CONFIG_PATH

    def check_connect(self) -> None:
        """
        Check that the user may use the daemon at all.

        :raises NotPermitted: it may not
        """
        if not self.allowed:
            raise self._refusal("use the daemon", "allow")

    def check_mark(self, mask: int, scope: Scope) -> None:
        """
        Check that a mark may be made.

        :param mask: event types and flags
        :raises NotPermitted: it may not; names the event types, or the scope
        """
        if scope not in self.scopes:
            raise self._refusal(f"make marks of scope {scope.value}", "scopes")
        refused = mask & ~int(EVENT_FLAGS) & ~int(self.events)
        if refused:
            raise self._refusal(f"ask for {', '.join(mask_names(refused))}", "events")

    def check_root(self, fd: int) -> None:
        """
        Check that an object lies where roots may lie.

        :param fd: descriptor of it
        :raises NotPermitted: it does not, or that cannot be told, because it was opened in another mount namespace
        """
        if self.roots_below is None:
            return
        path = _place(fd)
        for top in self.roots_below:
            if path is not None and (path + b"/").startswith(top.rstrip(b"/") + b"/"):
                return
        places = ", ".join(os.fsdecode(top) for top in self.roots_below) or "no directory"
        raise self._refusal(f"watch what does not lie below {places}", "roots_below")

    def _refusal(self, what: str, key: str) -> NotPermitted:
        return NotPermitted(
            f"user {self.uid} may not {what} (key {key} of a [[rule]] in {self.source}); root can change that",
            errno.EPERM,
        )


class Policy:
    """
    The rules, with names of users and groups looked up.

    :param config: the configuration
    :raises InvalidArgument: a rule names a user or group that does not exist
    """

    def __init__(self, config: Config) -> None:
        self._limits = config.limits
        self._source = config.path or CONFIG_PATH
        self._rules = [_Rule(rule, f"{self._source}: [[rule]] {n}") for n, rule in enumerate(config.rules, 1)]

    def of(self, credentials: Credentials) -> Rights:
        """Tell what a user may."""
        rules = [each.rule for each in self._rules if each.matches(credentials)]
        limits = self._limits
        for rule in reversed(rules):
            limits = msgspec.structs.replace(limits, **rule.limits)
        if credentials.uid == 0:
            return Rights(0, limits=limits, source=self._source)
        allow = _first(rule.allow for rule in rules)
        events = _first(rule.events for rule in rules)
        scopes = _first(rule.scopes for rule in rules)
        roots_below = _first(rule.roots_below for rule in rules)
        return Rights(
            credentials.uid,
            allowed=allow is not False,
            events=ALL_EVENTS if events is None else _events(events),
            scopes=ALL_SCOPES if scopes is None else frozenset(Scope(scope) for scope in scopes),
            roots_below=None if roots_below is None else tuple(os.fsencode(os.path.realpath(p)) for p in roots_below),
            limits=limits,
            source=self._source,
        )


class _Rule:
    """A rule with numbers instead of names."""

    def __init__(self, rule: Rule, where: str) -> None:
        self.rule = rule
        self._uids = {_number(user, _uid_of, f"{where} users: there is no user") for user in rule.users}
        self._gids = {_number(group, _gid_of, f"{where} groups: there is no group") for group in rule.groups}
        self._is_for_all = not rule.users and not rule.groups

    def matches(self, credentials: Credentials) -> bool:
        return self._is_for_all or credentials.uid in self._uids or not self._gids.isdisjoint(credentials.all_gids)


def socket_gid(config: Config) -> int:
    """
    Return the group that shall own the daemon's socket.

    :raises InvalidArgument: the configured group does not exist
    """
    if config.daemon.group is not None:
        where = f"{config.path or CONFIG_PATH}: [daemon] group: there is no group"
        return _number(config.daemon.group, _gid_of, where)
    try:
        return _gid_of(DEFAULT_GROUP)
    except KeyError:
        return 0


def _place(fd: int) -> bytes | None:
    """
    Return the path of an object in our own mount namespace; None when it was opened through a mount of another one.

    There a user without privilege can give any name to any directory.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        mount_id = next((int(line.split()[1]) for line in file if line.startswith(b"mnt_id:")), None)
    return os.readlink(b"/proc/self/fd/%d" % fd) if mount_id in read_mounts() else None


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _events(names: tuple[str, ...]) -> Mask:
    return parse_mask(",".join(names)) & ALL_EVENTS if names else Mask(0)


def _number(name: str | int, look_up: Callable[[str], int], complaint: str) -> int:
    if isinstance(name, int):
        return name
    try:
        return look_up(name)
    except KeyError:
        raise InvalidArgument(f"{complaint} {name!r} on this machine; its number works without") from None


def _uid_of(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid_of(name: str) -> int:
    return grp.getgrnam(name).gr_gid
