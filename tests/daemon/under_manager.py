"""What happens to the daemon's units under a service manager, as JSON: run by ``manager.sh``."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .support import DEADLINE_S, USER


def systemctl(*arguments: str) -> str:
    done = subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip() or str(done.returncode)


def told(unit: str, *names: str) -> list[str]:
    """Properties of a unit."""
    lines = systemctl("show", *(f"--property={name}" for name in names), unit).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    return [found[name] for name in names]


def ask(socket_path: Path) -> int:
    """Ask the daemon as an ordinary user, which starts it if it does not run; the exit code."""
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", sys.executable]
    environment = {**os.environ, "FANFPD_SOCKET": str(socket_path)}
    return subprocess.run([*command, "-m", "fanotify_fastpath", "ps"], env=environment, stdout=sys.stderr).returncode


def status(tgid: str) -> dict[str, str]:
    lines = Path(f"/proc/{tgid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def comes_true(claim: Callable[[], bool]) -> bool:
    """Wait until it is."""
    deadline = time.monotonic() + DEADLINE_S
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.05)
    return claim()


def main(socket_path: Path) -> dict[str, object]:
    """Start, look, read the configuration anew, start again, stop."""
    found: dict[str, object] = {"before": told("fanfpd.service", "ActiveState")}
    found["asked"] = ask(socket_path)
    found["running"] = told("fanfpd.service", "ActiveState", "SubState", "StatusText", "Type")
    (tgid,) = told("fanfpd.service", "MainPID")
    found["rights"] = {key: status(tgid)[key] for key in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Umask")}
    (control,) = told("control.service", "MainPID")
    own, service, other = (os.readlink(f"/proc/{each}/ns/mnt") for each in ("self", tgid, control))
    found["same mounts"], found["control has the same"] = own == service, own == other
    found["reload"] = systemctl("reload", "fanfpd.service")
    found["is running after it"] = comes_true(
        lambda: told("fanfpd.service", "SubState", "MainPID") == ["running", tgid]
    )
    systemctl("restart", "fanfpd.service")
    found["asked after a restart"] = ask(socket_path)
    os.kill(int(told("fanfpd.service", "MainPID")[0]), 9)
    found["asked after a crash"] = ask(socket_path)
    systemctl("stop", "fanfpd.socket", "fanfpd.service")
    found["stopped"] = told("fanfpd.service", "ActiveState", "Result")
    found["socket is left"] = socket_path.exists()
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
