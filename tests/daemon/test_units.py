"""The units of systemd: right, in step with the code, and nothing in them that blinds the daemon."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fanotify_fastpath._daemon.config import DEFAULT_GROUP, Daemon

UNITS = Path(__file__).parents[2] / "systemd"
SERVICE, SOCKET = UNITS / "fanfpd.service", UNITS / "fanfpd.socket"
DROP_IN = UNITS / "fanfpd-kernel.conf"
#: what has systemd give a service a mount namespace of its own (exec_needs_mount_namespace), or takes its rights away
NAMESPACED = re.compile(
    r"Private(Devices|IPC|Mounts|Network|Tmp|Users)|Protect(ControlGroups|Home|Kernel\w+|Proc|System)|ProcSubset|DynamicUser"
    r"|Root\w+|Bind\w*Paths|(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec)Paths|TemporaryFileSystem|MountImages|MountFlags"
    r"|Extension\w+|LogNamespace|MountAPIVFS|NetworkNamespacePath|JoinsNamespaceOf"
)
#: of 100; as low as it gets without the options above
EXPOSURE_MAX = 40

need_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (tools/setup.sh installs it)"
)


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of each key, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a directory, with the daemon of this environment."""
    for unit in (SERVICE, SOCKET):
        text = unit.read_text().replace("/usr/local/bin/fanfpd", str(Path(sys.executable).with_name("fanfpd")))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@need_systemd
@pytest.mark.parametrize("name", [SERVICE.name, SOCKET.name])
def test_systemd_understands_the_unit(installed: Path, name: str) -> None:
    done = analyze("verify", "--man=no", installed / name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@need_systemd
def test_systemd_understands_the_drop_in(installed: Path) -> None:
    place = installed / f"{SERVICE.name}.d" / "kernel.conf"
    place.parent.mkdir()
    place.write_text(DROP_IN.read_text())
    done = analyze("verify", "--man=no", installed / SERVICE.name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    place.write_text(DROP_IN.read_text().replace("SystemCallFilter", "SystemCallsFilter"))
    assert "SystemCallsFilter" in analyze("verify", "--man=no", installed / SERVICE.name).stderr


@need_systemd
def test_a_mistake_in_the_unit_would_be_seen(installed: Path) -> None:
    unit = installed / SERVICE.name
    unit.write_text(unit.read_text().replace("RestrictNamespaces=yes", "RestrictNamespace=yes"))
    done = analyze("verify", "--man=no", unit)
    assert "RestrictNamespace" in done.stderr


@need_systemd
def test_the_service_is_exposed_no_more_than_it_must(installed: Path) -> None:
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", installed / SERVICE.name)
    assert done.returncode == 0, done.stdout[-200:]


def test_the_service_stays_in_the_mount_namespace_of_the_host() -> None:
    assert not [key for key in settings(SERVICE) if NAMESPACED.fullmatch(key)]


def test_the_remark_names_what_is_left_out() -> None:
    remark = SERVICE.read_text().partition("# Left out, because each ")[2].partition("# Left out")[0]
    assert "ProtectSystem" in remark
    for key in re.findall(r"\b(?:Private|Protect|Proc)\w+", remark):
        assert NAMESPACED.fullmatch(key), key


def test_the_capabilities_are_those_that_the_daemon_asks_for() -> None:
    from fanotify_fastpath._daemon import server

    assert settings(SERVICE)["CapabilityBoundingSet"] == [" ".join(server._NEEDED)]
    assert "AmbientCapabilities" not in settings(SERVICE)


def test_the_drop_in_gives_what_engine_kernel_needs_and_no_more() -> None:
    assert settings(DROP_IN) == {
        "SystemCallFilter": ["bpf perf_event_open"],
        "CapabilityBoundingSet": ["CAP_SYSLOG"],
        "MemoryDenyWriteExecute": ["no"],
    }


def test_the_socket_is_where_clients_look_for_it() -> None:
    given = settings(SOCKET)
    assert given["ListenSequentialPacket"] == [Daemon().socket]
    assert given["SocketMode"] == [f"{Daemon().mode:04o}"]
    assert given["SocketGroup"] == [DEFAULT_GROUP]


def test_there_will_be_such_a_group() -> None:
    assert re.search(rf"^g {DEFAULT_GROUP} -$", (UNITS / "fanfpd.sysusers.conf").read_text(), re.MULTILINE)


def test_the_list_of_handlers_outlives_the_daemon() -> None:
    given = settings(SERVICE)
    assert f"/run/{given['RuntimeDirectory'][0]}/" in Daemon().socket
    assert given["RuntimeDirectoryPreserve"] == ["yes"]
    assert given["RuntimeDirectoryMode"] == settings(SOCKET)["DirectoryMode"] == ["0755"]
