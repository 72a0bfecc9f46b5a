"""
Who uses how much of the daemon: counted for each user, each connection and all together, and held below the limits.

What a connection took is given back when it is closed, however it ends. Limits that change hold for what is taken next.
"""

import enum
import errno
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NoReturn

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.bucket import Clock, TokenBucket
from fanotify_fastpath._daemon.config import CONFIG_PATH, Limits
from fanotify_fastpath.errors import LimitReached

#: as many are remembered, with those who are connected
_USERS_KEPT = 256


class Resource(enum.Enum):
    """What is counted; the value is how it is called in a sentence."""

    CONNECTIONS = "connections"
    GROUPS = "groups"
    ROOTS = "roots in a group"
    SETS = "sets of roots in a group"
    MARKS = "marks in a group"
    RING_BYTES = "bytes of rings"
    ALL_ROOTS = "roots in all groups (engine kernel counts them together)"
    SLOTS = "sets of roots and marks of single objects in all groups (engine kernel counts them together)"


#: by key of :class:`Limits`: what one user has of it in all connections
_PER_USER = MappingProxyType(
    {
        Resource.CONNECTIONS: "connections_per_user",
        Resource.GROUPS: "groups_per_user",
        Resource.RING_BYTES: "ring_bytes_per_user",
        # where the groups of all users share tables: what else one group may have, all groups of a user may have
        Resource.ALL_ROOTS: "roots_per_group",
        Resource.SLOTS: "sets_per_group",
    }
)
#: what one connection, which is one group, has of it
_PER_CONNECTION = MappingProxyType(
    {
        Resource.ROOTS: "roots_per_group",
        Resource.SETS: "sets_per_group",
        Resource.MARKS: "marks_per_group",
        Resource.RING_BYTES: "ring_bytes",
    }
)


@dataclass(slots=True)
class Counted:
    """
    What has happened since the daemon was started.

    :ivar n_connections: accepted
    :ivar n_requests: made, also those that were too many
    :ivar n_refused: refusals by the key of the limit
    """

    n_connections: int = 0
    n_requests: int = 0
    n_refused: dict[str, int] = field(default_factory=dict)

    def refuse(self, key: str, sentence: str, code: int | None = None) -> NoReturn:
        """
        Count a refusal.

        :raises LimitReached: always
        """
        self.n_refused[key] = self.n_refused.get(key, 0) + 1
        raise LimitReached(sentence, code)


class _User:
    """What one user has in all connections."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.used = dict.fromkeys(_PER_USER, 0)
        self.bucket = TokenBucket(limits.requests_per_second, limits.requests_burst, clock)


class Accounts:
    """
    The accounts of all users. Safe to use from several threads.

    :param max_connections: of all users together
    :param source: the file that a sentence names
    :param clock: seconds that only grow
    """

    def __init__(self, max_connections: int, source: str = CONFIG_PATH, clock: Clock = time.monotonic) -> None:
        self.max_connections = max_connections
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._n_connections = 0
        self._counted = Counted()
        # kept for a while after the last connection: a user who connects anew gets no new tokens by that
        self._users: dict[int, _User] = {}

    def connect(self, uid: int, limits: Limits) -> "ConnectionAccount":
        """
        Begin the account of one connection, which is closed with it.

        :raises LimitReached: the user has too many, or all together
        """
        with self._lock:
            if self._n_connections >= self.max_connections:
                self._counted.refuse(
                    "max_connections",
                    f"all users together have {self._n_connections} connections, and max_connections = "
                    f"{self.max_connections}; root can raise it under [daemon] in {self._source}",
                )
            user = self._users.get(uid)
            if user is None:
                self._forget_idle()
                user = self._users[uid] = _User(limits, self._clock)
            account = ConnectionAccount(self, uid, user, limits)
            account._charge(Resource.CONNECTIONS, 1)
            self._n_connections += 1
            self._counted.n_connections += 1
        return account

    def used(self, uid: int) -> dict[Resource, int]:
        """Return what a user has in all connections."""
        with self._lock:
            user = self._users.get(uid)
            return dict(user.used) if user else dict.fromkeys(_PER_USER, 0)

    def counted(self) -> Counted:
        """Return what has happened, as it is now."""
        with self._lock:
            return replace(self._counted, n_refused=dict(self._counted.n_refused))

    @property
    def n_connections(self) -> int:
        """Of all users."""
        return self._n_connections

    def _forget_idle(self) -> None:
        if len(self._users) >= _USERS_KEPT:
            users = self._users.items()
            self._users = {uid: u for uid, u in users if u.used[Resource.CONNECTIONS] or not u.bucket.is_full()}


class ConnectionAccount(Closing):
    """
    What one connection has taken; made by :meth:`Accounts.connect`.

    :ivar limits: may be replaced at any time
    :ivar also: by resource: what else is taken and given back with it
    """

    def __init__(self, accounts: Accounts, uid: int, user: _User, limits: Limits) -> None:
        self.limits = limits
        self.also: Mapping[Resource, Resource] = {}
        self._accounts = accounts
        self._uid = uid
        self._user = user
        self._used = dict.fromkeys(Resource, 0)
        self._is_closed = False

    def request(self) -> None:
        """
        Count a request.

        :raises LimitReached: too many in too short a time (EAGAIN); says when the next one may come
        """
        limits = self.limits
        with self._accounts._lock:
            bucket = self._user.bucket
            bucket.configure(limits.requests_per_second, limits.requests_burst)
            wait_s = bucket.take()
            self._accounts._counted.n_requests += 1
            if wait_s:
                self._accounts._counted.refuse(
                    "requests_per_second",
                    f"user {self._uid} makes more than requests_per_second = {limits.requests_per_second}; wait "
                    f"{wait_s:.3f} s, or have root raise {self._raisable('requests_per_second')}",
                    errno.EAGAIN,
                )

    def take(self, resource: Resource, n: int = 1) -> None:
        """
        Take some of a resource, until it is given back or this is closed.

        :raises LimitReached: that would be too much; nothing was taken
        """
        with self._accounts._lock:
            if self._is_closed:
                raise ValueError("the account is closed")
            self._charge(resource, n)
            if resource in self.also:
                try:
                    self._charge(self.also[resource], n)
                except LimitReached:
                    self._uncharge(resource, n)
                    raise

    def give(self, resource: Resource, n: int = 1) -> None:
        """Give back what was taken before."""
        with self._accounts._lock:
            if not self._is_closed:
                self._uncharge(resource, n)
                if resource in self.also:
                    self._uncharge(self.also[resource], n)

    def used(self, resource: Resource) -> int:
        """Return how much of a resource this connection has."""
        return self._used[resource]

    def close(self) -> None:
        """Give back all that this connection has."""
        with self._accounts._lock:
            if self._is_closed:
                return
            for resource, n in self._used.items():
                self._uncharge(resource, n)
            self._accounts._n_connections -= 1
            self._is_closed = True

    def _charge(self, resource: Resource, n: int) -> None:
        own, users = _PER_CONNECTION.get(resource), _PER_USER.get(resource)
        if own is not None:
            self._check(resource, "one connection", own, self._used[resource], n)
        if users is not None:
            self._check(resource, f"user {self._uid}", users, self._user.used[resource], n)
            self._user.used[resource] += n
        self._used[resource] += n

    def _uncharge(self, resource: Resource, n: int) -> None:
        assert 0 <= n <= self._used[resource], "more is given back than was taken"
        self._used[resource] -= n
        if resource in _PER_USER:
            self._user.used[resource] -= n

    def _check(self, resource: Resource, who: str, key: str, has: int, n: int) -> None:
        limit: int = getattr(self.limits, key)
        if has + n > limit:
            more = f"{n} more" if n > 1 else "one more"
            self._accounts._counted.refuse(
                key,
                f"{who} has {has} {resource.value}, and {more} would pass {key} = {limit}; close what is not "
                f"needed, or have root raise {self._raisable(key)}",
            )

    def _raisable(self, key: str) -> str:
        return f"{key} under [limits] or in a [[rule]] of {self._accounts._source}"
