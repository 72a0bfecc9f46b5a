"""Metrics: sums that never fall, figures of each user, and an endpoint that nobody can hold up for long."""

import http.client
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fanotify_fastpath import Mask, errors
from fanotify_fastpath._daemon import metrics
from fanotify_fastpath._daemon.account import Counted
from fanotify_fastpath._daemon.figures import BY_USER, SUMS, Figures
from fanotify_fastpath._daemon.metrics import Metrics
from fanotify_fastpath._wire.messages import GroupStatus
from outcomes import wait_until

from .client import opened_as
from .support import FOR_ALL, USER, Daemon


def group(number: int, uid: int = 1000, **counters: int) -> GroupStatus:
    return GroupStatus(number, uid, 1, "tests", "fanotify", 1, 1, 2, 3, 4096, counters)


class Stage:
    """Figures of a daemon that there is not."""

    def __init__(self) -> None:
        self.groups: list[GroupStatus] = []
        self.counted = Counted()
        about = {"version": "1.2.3", "engine": "fanotify"}
        self.figures = Figures(about, lambda: self.groups, lambda: self.counted, lambda: 7)

    def told(self) -> dict[str, float]:
        """Each figure by name and labels."""
        return {
            sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): sample.value
            for metric in self.figures.collect()
            for sample in metric.samples
        }


@pytest.fixture
def stage() -> Stage:
    return Stage()


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def get(connection: http.client.HTTPConnection, path: str = "/metrics") -> tuple[int, str]:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def served(stage: Stage, tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "metrics.socket")
    with Metrics(f"unix:{path}", stage.figures):
        yield path


def test_what_the_daemon_is(stage: Stage) -> None:
    told = stage.told()
    assert told["fanfpd_info version=1.2.3 engine=fanotify"] == 1
    assert told["fanfpd_connections"] == 7


def test_figures_of_each_user(stage: Stage) -> None:
    stage.groups = [group(1), group(2), group(3, uid=5)]
    told = stage.told()
    assert (told["fanfpd_groups uid=1000"], told["fanfpd_groups uid=5"]) == (2, 1)
    assert (told["fanfpd_roots uid=1000"], told["fanfpd_roots uid=5"]) == (4, 2)
    assert (told["fanfpd_marks uid=1000"], told["fanfpd_ring_bytes uid=5"]) == (6, 4096)


def test_sums_keep_what_groups_have_counted_that_have_ended(stage: Stage) -> None:
    stage.groups = [group(1, n_put=10, n_dropped=1, n_withheld=3), group(2, n_put=5)]
    assert stage.told()["fanfpd_events_total"] == 15
    stage.groups = [group(2, n_put=6)]  # the first is ending
    assert stage.told()["fanfpd_events_total"] == 15
    stage.figures.ended(group(1, n_put=11, n_dropped=1, n_withheld=3))
    told = stage.told()
    assert told["fanfpd_events_total"] == 17
    assert (told["fanfpd_ring_events_lost_total"], told["fanfpd_events_withheld_total"]) == (1, 3)
    assert told["fanfpd_queue_events_lost_total"] == 0


def test_refusals_by_limit(stage: Stage) -> None:
    stage.counted = Counted(3, 40, {"groups_per_user": 2, "connections_per_user": 1})
    told = stage.told()
    assert told["fanfpd_limit_reached_total limit=groups_per_user"] == 2
    assert (told["fanfpd_connections_accepted_total"], told["fanfpd_requests_total"]) == (3, 40)


def test_it_is_served_as_prometheus_reads_it(stage: Stage, served: str) -> None:
    stage.groups = [group(1, n_put=10)]
    status, text = get(UnixConnection(served))
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["fanfpd_events"].samples[0].value == 10
    assert {name for name, _ in (*SUMS.values(), *BY_USER.values())} <= families.keys()
    assert "process_open_fds" in families


def test_the_socket_is_roots_alone_and_goes_with_the_daemon(served: str, stage: Stage) -> None:
    assert stat.S_IMODE(os.stat(served).st_mode) == 0o600
    other = f"{served}.other"
    Metrics(f"unix:{other}", stage.figures).close()
    assert not os.path.exists(other)


def test_a_socket_that_a_dead_daemon_has_left_is_replaced(stage: Stage, tmp_path: Path) -> None:
    path = str(tmp_path / "metrics.socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    with Metrics(f"unix:{path}", stage.figures):
        assert get(UnixConnection(path))[0] == 200


def test_what_is_no_socket_is_not_replaced(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(errors.KernelRefused, match=f"cannot serve metrics on unix:{path}"):
        Metrics(f"unix:{path}", stage.figures)
    assert path.read_text() == "text"


def test_other_paths_are_not_found(served: str) -> None:
    assert get(UnixConnection(served), "/etc/passwd")[0] == 404


def test_who_says_nothing_holds_others_up_for_a_while_only(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics._Reader, "timeout", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(served)
        assert get(UnixConnection(served))[0] == 200


def test_who_sends_nonsense_or_goes_away_is_forgotten(served: str) -> None:
    for sent in (b"", b"\0\xff\n\n", b"GET", b"GET /metrics HTTP/9.9\r\n\r\n", b"GET /metrics HTTP/1.1\r\n" * 200):
        with socket.socket(socket.AF_UNIX) as odd:
            odd.connect(served)
            odd.sendall(sent)
    assert get(UnixConnection(served))[0] == 200


def test_a_daemon_tells_of_its_groups_also_when_they_have_ended(
    start: Callable[..., Daemon], top: Path, tmp_path: Path
) -> None:
    where = tmp_path / "socket"
    daemon = start(f'{FOR_ALL}metrics = "unix:{where}"\n[limits]\nmarks_per_group = 1\n')

    def told() -> dict[str, float]:
        status, text = get(UnixConnection(str(where)))
        assert status == 200
        families = text_string_to_metric_families(text)
        samples = [sample for family in families for sample in family.samples]
        return {sample.name: sample.value for sample in samples if sample.labels in ({}, {"uid": str(USER)})}

    with opened_as(daemon, USER) as client:
        client.watch(top)
        client.mark(2, int(Mask.OPEN), 0)
        client.make_files(top, 5)
        client.sync()
        alive = told()
        assert (alive["fanfpd_groups"], alive["fanfpd_marks"], alive["fanfpd_connections"]) == (1, 1, 1)
        assert alive["fanfpd_events_total"] >= 5
        client.hang_up()
        wait_until(lambda: "fanfpd_groups" not in told(), "the group is told no more")
    gone = told()
    assert gone["fanfpd_connections"] == 0
    assert gone["fanfpd_events_total"] >= alive["fanfpd_events_total"]
    assert gone["fanfpd_requests_total"] >= 6
    assert daemon.stop() == 0
    assert not where.exists()


def test_a_daemon_that_cannot_serve_metrics_does_not_start(start: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AssertionError, match="cannot serve metrics on"):
        start(f'{FOR_ALL}metrics = "unix:{tmp_path}/file"\n')


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_loopback_address(stage: Stage, host: str) -> None:
    if host == "[::1]" and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this kernel has no IPv6")
    with Metrics(f"{host}:0", stage.figures) as served:
        assert get(http.client.HTTPConnection(host.strip("[]"), served.address[1], timeout=10))[0] == 200


def test_a_port_that_is_taken_is_an_error(stage: Stage) -> None:
    with socket.socket(socket.AF_INET) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.KernelRefused, match=f"cannot serve metrics on {address}"):
            Metrics(address, stage.figures)


def test_no_such_port_is_an_error(stage: Stage) -> None:
    with pytest.raises(errors.KernelRefused, match=r"127\.0\.0\.1:99999"):
        Metrics("127.0.0.1:99999", stage.figures)


def test_without_the_library_it_says_what_to_install(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(errors.UnsupportedFeature, match=r"fanotify-fastpath\[metrics\]"):
        Metrics("127.0.0.1:0", stage.figures)
