"""A session that is ended early leaves nothing mounted behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ENDINGS
from mounting import give_up, mounted_below
from outcomes import DEADLINE_S, wait_until

TESTS = Path(__file__).parent
INTERRUPTED = 2
# A session of its own that mounts something and hangs; its end takes long enough to be disturbed.
HANGS = """
import os, pathlib, time
import pytest

@pytest.fixture
def slow_end():
    yield
    time.sleep(0.3)

def test_hangs(filesystem, mounts, slow_end):
    mounts.make("overlayfs")
    where = mounts.make("tmpfs")
    with open(where / "busy", "w"):
        pathlib.Path(os.environ["READY"]).touch()
        time.sleep(60)
"""


def loop_files() -> list[str]:
    """The files behind the loop devices."""
    files = []
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            files.append(device.read_text())
        except OSError:  # the device has been released
            continue
    return files


@pytest.mark.parametrize("n_signals", [1, 3])
@pytest.mark.parametrize("number", ENDINGS, ids=[each.name for each in ENDINGS])
def test_a_session_that_is_ended_by_a_signal_unmounts_and_removes_what_it_made(
    tmp_path: Path, number: signal.Signals, n_signals: int
) -> None:
    if os.geteuid() != 0:
        give_up("mounting needs root")
    (tmp_path / "test_hangs.py").write_text(HANGS)
    ready = tmp_path / "ready"
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path), "READY": str(ready)}
    options = ["-p", "conftest", "-p", "no:cacheprovider", "--rootdir"]
    # whoever started the tests may ignore these signals (nohup does, and a shell for what it runs in the background)
    heeding = ["env", f"--default-signal={number.name.removeprefix('SIG')}"]
    command = [*heeding, sys.executable, "-m", "pytest", *options, str(tmp_path), str(tmp_path / "test_hangs.py")]
    session = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: ready.exists() or session.poll() is not None, "the test begins")
        assert len(list(tmp_path.glob("fanotify-fastpath-*"))) == 1
        assert len(mounted_below(tmp_path)) == 4
        for _ in range(n_signals):
            session.send_signal(number)
            time.sleep(0.1)
        output, _ = session.communicate(timeout=DEADLINE_S)
    finally:
        session.kill()
        session.wait()
    assert session.returncode == INTERRUPTED, output.decode()
    assert list(tmp_path.glob("fanotify-fastpath-*")) == []
    assert mounted_below(tmp_path) == []
    wait_until(lambda: not any(str(tmp_path) in file for file in loop_files()), "the loop devices are released")
