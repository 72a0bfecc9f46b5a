"""The daemon works with no more than its unit leaves it."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath import Mask

from . import confined
from .client import opened_as
from .support import FOR_ALL, OTHER_USER, USER, Daemon, open_up

UNIT = Path(__file__).parents[2] / "systemd" / "fanfpd.service"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (tools/setup.sh installs it)"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemon needs root"),
]


class Confined(Daemon):
    """A daemon with the rights that the unit gives it."""

    def command(self, *options: str) -> list[str]:
        python, *others = super().command(*options)
        return [python, confined.__file__, os.fspath(UNIT), os.fspath(self.socket_path), python, *others]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Confined]:
    open_up(tmp_path, 0o755)
    with Confined(tmp_path / "daemon", FOR_ALL) as daemon:
        yield daemon


def status(daemon: Daemon) -> dict[str, str]:
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_it_has_the_rights_of_the_unit_and_no_others(daemon: Confined) -> None:
    told = status(daemon)
    dac_read_search, setgid, setuid, sys_admin = 2, 6, 7, 21
    wanted = sum(1 << number for number in (dac_read_search, setgid, setuid, sys_admin))
    assert {int(told[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {wanted}
    assert (told["NoNewPrivs"], told["Seccomp"], told["Umask"]) == ("1", "2", "0077")


def test_it_serves_a_user_and_hides_what_that_user_may_not_see(daemon: Confined, top: Path) -> None:
    (top / "shown").mkdir(mode=0o755)
    hidden = top / "hidden"
    hidden.mkdir(mode=0o700)
    with opened_as(daemon, USER) as client:
        assert client.watch(top) == ["Welcome", "Opened", "Done", "Done"]
        (top / "shown" / "file").touch()
        (hidden / "file").touch()
        heard = client.hear()
        assert str(top / "shown" / "file") in {each.path for each in heard if each.mask & Mask.CREATE}
        assert not [each for each in heard if each.path.startswith(f"{hidden}/")]
        os.chown(hidden, USER, USER)
        assert str(hidden) in {each.path for each in client.hear() if each.mask & Mask.RESCAN}
        (hidden / "another").touch()
        assert str(hidden / "another") in {each.path for each in client.hear()}


def test_it_reads_its_configuration_anew_and_ends(daemon: Confined, top: Path) -> None:
    daemon.configure(f"{FOR_ALL}\n[limits]\nmarks_per_group = 0\n")
    daemon.reload()
    with opened_as(daemon, OTHER_USER) as client:
        assert client.watch(top)[-1] == "Failed"
    assert daemon.stop() == 0
    assert "Operation not permitted" not in daemon.log()


def test_it_serves_metrics_on_a_unix_socket(tmp_path: Path) -> None:
    open_up(tmp_path, 0o755)
    where = tmp_path / "metrics"
    with Confined(tmp_path / "daemon", f'{FOR_ALL}metrics = "unix:{where}"\n'), socket.socket(socket.AF_UNIX) as reader:
        reader.connect(os.fspath(where))
        reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with reader.makefile("rb") as answer:
            text = answer.read().decode()
    assert "fanfpd_connections 0.0" in text
    assert "process_open_fds" in text


def test_what_the_unit_forbids_fails(tmp_path: Path) -> None:
    code = (
        "import ctypes, os, socket\n"
        "def number(work):\n"
        "    try: work()\n"
        "    except OSError as exc: return exc.errno\n"
        "mount = ctypes.CDLL(None).mount\n"
        "print(number(lambda: socket.socket(socket.AF_INET)), number(lambda: os.chown('.', 1, 1)),"
        " mount(b'none', b'/', None, 1 << 18, None))"
    )
    command = [sys.executable, confined.__file__, str(UNIT), str(tmp_path / "socket"), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == [str(errno.EAFNOSUPPORT), str(errno.EPERM), "-1"], done.stderr
