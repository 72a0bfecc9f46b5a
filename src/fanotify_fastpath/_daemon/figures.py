"""
What the daemon tells Prometheus.

A group's counters end with it; what groups have counted that have ended is kept in sums, and no sum ever falls.
"""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from fanotify_fastpath._daemon.account import Counted
from fanotify_fastpath._wire.messages import GroupStatus

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: sums over all groups, by counter of a group: the metric, and what it is
SUMS: Final = {
    "n_put": ("fanfpd_events", "events that were put into rings"),
    "n_dropped": ("fanfpd_ring_events_lost", "events that found no room in a ring"),
    "n_lost": ("fanfpd_queue_events_lost", "events lost on the way to a ring, as far as their number is known"),
    "n_withheld": ("fanfpd_events_withheld", "events that the user may not see"),
}
#: figures of users, by field of a group
BY_USER: Final = {
    "n_roots": ("fanfpd_roots", "roots and exceptions"),
    "n_marks": ("fanfpd_marks", "marks"),
    "ring_bytes": ("fanfpd_ring_bytes", "size of rings"),
}


class Figures:
    """
    A collector, as ``prometheus_client`` calls it. Safe to use from several threads.

    :param about: what the daemon is, by name
    :param groups: tells about all groups that live
    :param counted: tells what has happened since the start
    :param n_connections: tells how many there are
    """

    def __init__(
        self,
        about: Mapping[str, str],
        groups: Callable[[], Iterable[GroupStatus]],
        counted: Callable[[], Counted],
        n_connections: Callable[[], int],
    ) -> None:
        self._about = dict(about)
        self._groups, self._counted, self._n_connections = groups, counted, n_connections
        self._lock = threading.Lock()
        self._ended: collections.Counter[str] = collections.Counter()
        self._told: collections.Counter[str] = collections.Counter()

    def ended(self, group: GroupStatus) -> None:
        """Keep what a group has counted; it is no longer among those that live."""
        with self._lock:
            self._ended.update({name: group.counters.get(name, 0) for name in SUMS})

    def collect(self) -> Iterator["Metric"]:
        """Tell everything, as it is now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        groups = list(self._groups())
        counted = self._counted()
        yield InfoMetricFamily("fanfpd", "the daemon", value=self._about)
        yield GaugeMetricFamily("fanfpd_connections", "connections", value=self._n_connections())
        yield CounterMetricFamily("fanfpd_connections_accepted", "connections so far", value=counted.n_connections)
        yield CounterMetricFamily("fanfpd_requests", "requests of clients", value=counted.n_requests)
        refused = CounterMetricFamily("fanfpd_limit_reached", "what was refused for a limit", labels=["limit"])
        for key, n_refused in sorted(counted.n_refused.items()):
            refused.add_metric([key], n_refused)
        yield refused
        for counter, n_counted in self._sums(groups).items():
            name, what = SUMS[counter]
            yield CounterMetricFamily(name, what, value=n_counted)
        by_user = GaugeMetricFamily("fanfpd_groups", "groups", labels=["uid"])
        for uid, n_groups in sorted(collections.Counter(group.uid for group in groups).items()):
            by_user.add_metric([str(uid)], n_groups)
        yield by_user
        for field, (name, what) in BY_USER.items():
            by_user = GaugeMetricFamily(name, what, labels=["uid"])
            for uid in sorted({group.uid for group in groups}):
                by_user.add_metric([str(uid)], sum(getattr(group, field) for group in groups if group.uid == uid))
            yield by_user

    def _sums(self, groups: Iterable[GroupStatus]) -> dict[str, int]:
        with self._lock:
            sums = collections.Counter(self._ended)
            for group in groups:
                sums.update({name: group.counters.get(name, 0) for name in SUMS})
            # a group that is just ending may be in neither; what was told once is not taken back
            self._told |= sums
            return {name: self._told[name] for name in SUMS}
