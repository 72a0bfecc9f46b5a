"""
A listener in a namespace of processes of its own; run by ``unshare --pid --fork --mount-proc``, not imported.

usage: python namespaced.py ENGINE DIRECTORY

Prints, as JSON: its own and its child's number, and for each event the name, the numbers told and the executable.
"""

import json
import os
import subprocess
import sys
from typing import Any

from fanotify_fastpath import Group, Mask


def main(engine: Any, directory: str) -> None:
    """Make a file, have its child make another, and print what was heard."""
    with Group(engine=engine, with_tid=True) as group:
        group.mark(directory, Mask.CREATE)
        with open(f"{directory}/own", "w"):
            pass
        child = subprocess.Popen(["sh", "-c", f": > {directory}/by-child; read wait"], stdin=subprocess.PIPE)
        events = group.read(timeout_s=30)
        child.communicate(b"\n")
        told = [(os.path.basename(event.path or "?"), event.tgid, event.tid, event.exe, event.comm) for event in events]
    print(json.dumps({"own": os.getpid(), "child": child.pid, "shell": os.path.realpath("/bin/sh"), "told": told}))


main(*sys.argv[1:])
