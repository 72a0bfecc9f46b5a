"""The daemon under a real service manager: a systemd of the test's own starts it from its units."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import confined
from .support import FOR_ALL, environment, open_up

UNITS = Path(__file__).parents[2] / "systemd"
MANAGER = Path(__file__).with_name("manager.sh")
SYSTEMD = Path("/lib/systemd/systemd")
#: the least that a manager starts with
TARGETS = ("basic", "default", "exit", "local-fs", "shutdown", "sockets", "sysinit")
BARE = "[Unit]\nDefaultDependencies=no\n"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemon needs root"),
    pytest.mark.skipif(not SYSTEMD.exists(), reason="needs systemd (tools/setup.sh installs it)"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened to the daemon."""
    directory = open_up(tmp_path_factory.mktemp("managed"), 0o755)
    units, socket_path, config_path = directory / "units", directory / "socket", directory / "fanfpd.toml"
    units.mkdir()
    config_path.write_text(FOR_ALL)
    for target in TARGETS:
        (units / f"{target}.target").write_text(BARE)
    (units / "default.target").write_text(f"{BARE}Wants=fanfpd.socket control.service\n")
    command = f"{sys.executable} -m fanotify_fastpath._daemon.main --config {config_path}"
    service = (UNITS / "fanfpd.service").read_text().replace("/usr/local/bin/fanfpd", command)
    package = environment()["PYTHONPATH"]
    (units / "fanfpd.service").write_text(f"{service}\n[Service]\nEnvironment=PYTHONPATH={package}\n")
    socket = (UNITS / "fanfpd.socket").read_text()
    socket = socket.replace("/run/fanotify_fastpath/fanfpd.socket", str(socket_path))
    (units / "fanfpd.socket").write_text(socket.replace("=fanfp\n", "=root\n").replace("0660", "0666"))
    # what the unit leaves out: by this it is seen that it would matter
    (units / "control.service").write_text(f"{BARE}[Service]\nExecStart=/bin/sleep 600\nProtectSystem=strict\n")
    scenario = [sys.executable, "-m", f"{__package__}.under_manager", str(socket_path)]
    paths = [package, str(Path(__file__).parents[1])]
    done = subprocess.run(
        ["unshare", "-m", str(MANAGER), str(units), *scenario],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    log = units / "log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_first_client_starts_it(found: dict[str, Any]) -> None:
    assert found["before"] == ["inactive"]
    assert found["asked"] == 0
    assert found["running"][:2] == ["active", "running"]


def test_it_tells_the_manager_how_it_is(found: dict[str, Any]) -> None:
    status, kind = found["running"][2:]
    assert status.startswith("serving ")
    assert kind == "notify"


def test_the_manager_leaves_it_the_rights_of_the_unit(found: dict[str, Any]) -> None:
    wanted = len(confined.settings(UNITS / "fanfpd.service")["CapabilityBoundingSet"][0].split())
    rights = found["rights"]
    assert rights["CapEff"] == rights["CapBnd"]
    assert int(rights["CapEff"], 16).bit_count() == wanted
    assert (rights["NoNewPrivs"], rights["Seccomp"], rights["Umask"]) == ("1", "2", "0077")


def test_it_sees_the_mounts_of_the_host(found: dict[str, Any]) -> None:
    assert found["same mounts"]
    assert not found["control has the same"]


def test_it_is_reloaded_without_being_started_anew(found: dict[str, Any]) -> None:
    assert found["reload"] == "0"
    assert found["is running after it"]


def test_clients_come_through_a_restart_and_a_crash(found: dict[str, Any]) -> None:
    assert found["asked after a restart"] == 0
    assert found["asked after a crash"] == 0


def test_it_is_stopped_and_its_socket_goes(found: dict[str, Any]) -> None:
    assert found["stopped"] == ["inactive", "success"]
    assert not found["socket is left"]
