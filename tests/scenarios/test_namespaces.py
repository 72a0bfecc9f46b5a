"""A listener in a namespace of processes of its own: it does not hear itself, and knows others by the numbers there."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .conftest import Stage
from .users import UID

_SCRIPT = Path(__file__).with_name("namespaced.py")


def test_a_listener_in_a_namespace_of_processes_knows_itself_and_others(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(_SCRIPT), stage.engine, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["own"] == 1
    process = (found["child"], found["child"], found["shell"])
    if stage.engine == "daemon":  # it knows only its own numbers
        process = (0, 0, None)
    assert [(name, tgid, tid, exe) for name, tgid, tid, exe, _ in found["told"]] == [("by-child", *process)]


def test_a_listener_outside_knows_who_is_in_a_namespace_by_its_own_numbers(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.group()
    group.mark(root)
    script = f": > {root}/file; read wait"
    become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"] if UID else []
    command = ["unshare", "--pid", "--fork", *become, "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        (event, *_) = group.read(timeout_s=30)
        assert event.path == str(root / "file")
        with open(f"/proc/{event.tgid}/cmdline", "rb") as cmdline:
            assert cmdline.read().split(b"\0")[:3] == [b"sh", b"-c", os.fsencode(script)]
        process.communicate(b"\n")
