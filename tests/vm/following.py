"""
What somebody does who follows docs/daemon.md, and what comes of it, as JSON: run in a machine that systemd has started.

    usage: following.py COMMANDS

COMMANDS is JSON: the lines of the page's blocks by what they are for, and the page's configuration.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE_S = 90
WATCHED = Path("/srv/data")
CONFIG = Path("/etc/fanfpd.toml")
UNITS = ("fanfpd.socket", "fanfpd.service")
STOP = Path("/tmp/enough")


class Transcript:
    """Runs commands, and keeps what they print."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, str]] = []

    def run(self, command: str) -> tuple[int, str]:
        """Run a line of shell: its exit code, and what it printed."""
        told = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(f"[{time.monotonic():.0f} s] # {command}\n{told.stdout.rstrip()}", file=sys.stderr, flush=True)
        self.done.append((command, told.returncode, told.stdout))
        return told.returncode, told.stdout

    def follow(self, commands: list[str]) -> list[str]:
        """Run lines one after the other: those that failed, with what they printed."""
        told = {command: self.run(command) for command in commands}
        return [f"{command}: {code}: {output}" for command, (code, output) in told.items() if code]


class Watching:
    """The command of an ordinary user that watches, in the background."""

    def __init__(self, command: str, output: Path) -> None:
        self._path = output
        self._errors = output.with_suffix(".err")
        with output.open("wb") as out, self._errors.open("wb") as err:
            self._process = subprocess.Popen(as_alice(command), stdout=out, stderr=err)

    @property
    def output(self) -> str:
        return self._path.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def has_told(self, text: str) -> bool:
        """Wait until it has printed that."""
        return comes_true(lambda: text in self.output)

    def is_ready(self) -> bool:
        """Wait until it watches."""
        return comes_true(lambda: "watching" in self.errors or self._process.poll() is not None)

    def end(self) -> int:
        """End it: its exit code."""
        self._process.terminate()
        return self._process.wait()


def as_alice(command: str) -> list[str]:
    return ["runuser", "-u", "alice", "--", "sh", "-c", f"exec {command}"]


def comes_true(claim: Callable[[], bool]) -> bool:
    """Wait until it is."""
    deadline = time.monotonic() + DEADLINE_S
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.1)
    return claim()


def main_pid() -> str:
    return subprocess.run(["systemctl", "show", "-P", "MainPID", UNITS[1]], stdout=subprocess.PIPE, text=True).stdout


def log_since_start() -> str:
    """What the service that runs now has logged."""
    journal = ["journalctl", "-o", "cat", f"_PID={main_pid().strip()}"]
    return subprocess.run(journal, stdout=subprocess.PIPE, text=True).stdout


def states() -> list[str]:
    """Of the socket and the service."""
    return subprocess.run(["systemctl", "is-active", *UNITS], stdout=subprocess.PIPE, text=True).stdout.split()


def installed(commands: dict[str, list[str]], shell: Transcript) -> dict[str, Any]:
    """Install, and let alice use it."""
    shell.run("useradd --no-create-home alice")
    shell.run(f"mkdir -p {WATCHED} && mount -t tmpfs -o mode=755 none {WATCHED}")
    found: dict[str, Any] = {"failed": shell.follow(commands["install"])}
    found["refused before joining"] = shell.run("runuser -u alice -- fanfp ps")
    found["failed"] += shell.follow(commands["join"])
    found["before"] = states()
    shell.run("runuser -u alice -- fanfp ps")  # which may have waited too long for an answer, in a machine like this
    found["the first client starts it"] = comes_true(lambda: states() == ["active", "active"])
    return found


def used(commands: dict[str, list[str]], shell: Transcript, engine: str) -> dict[str, Any]:
    """Watch, while the daemon is read anew, started anew and stopped."""
    watching = Watching(commands["use"][0], Path(f"/tmp/{engine}.out"))
    found: dict[str, Any] = {"is ready": watching.is_ready()}
    (WATCHED / f"{engine}-first").touch()
    found["told"] = watching.has_told(f"{engine}-first")
    found["ps"] = shell.run("fanfp ps --json")[1]
    found["log"] = shell.run("journalctl -u fanfpd -o cat")[1]
    found["failed"] = shell.follow(commands["look"])
    found["security"] = next(output for command, _, output in shell.done[::-1] if "security" in command)
    found["reload"] = reloaded(commands["reload"], shell, watching, engine)
    found["failed"] += shell.follow(commands["restart"])
    found["rescan"] = watching.has_told("rescan")
    (WATCHED / f"{engine}-after").touch()
    found["told after a restart"] = watching.has_told(f"{engine}-after")
    found["failed"] += shell.follow(commands["stop"])
    found["stopped"] = states()
    found["told of it"] = shell.run(f"runuser -u alice -- {commands['use'][0]}")
    shell.run("systemctl start fanfpd.socket")
    found["says"] = watching.errors
    found["code"] = watching.end()
    found["output"] = watching.output
    return found


def reloaded(commands: list[str], shell: Transcript, watching: Watching, engine: str) -> dict[str, Any]:
    """Files are made all the time while the daemon reads its configuration anew."""
    before, pid = len(watching.output), main_pid()
    making = f'n=0; while [ ! -e {STOP} ]; do : >"{WATCHED}/{engine}-$n."; n=$((n + 1)); sleep 0.05; done; echo $n'
    with subprocess.Popen(["sh", "-c", making], stdout=subprocess.PIPE, text=True) as maker:
        watching.has_told(f"{engine}-0.")
        failed = shell.follow(commands)
        is_read = comes_true(lambda: "the configuration was read anew" in log_since_start())
        STOP.touch()
        n_made = int(maker.communicate()[0])
    STOP.unlink()
    watching.has_told(f"{engine}-{n_made - 1}.")
    output = watching.output[before:]
    print(f"{n_made} files were made meanwhile", file=sys.stderr)
    return {
        "failed": failed,
        "is read": is_read,
        "is the same process": main_pid() == pid,
        "missing": [name for name in (f"{engine}-{n}." for n in range(n_made)) if name not in output],
        "lost": [word for word in ("overflow", "rescan") if word in output.lower()],
    }


def main(commands: dict[str, list[str]]) -> dict[str, Any]:
    shell = Transcript()
    found: dict[str, Any] = {"installed": installed(commands, shell), "fanotify": used(commands, shell, "fanotify")}
    CONFIG.write_text("\n".join(commands["configuration"]))
    failed = shell.follow(commands["drop-in"])
    found["kernel"] = {"drop-in failed": failed, **used(commands, shell, "kernel")}
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
