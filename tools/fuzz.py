"""
Look for packets and connections that break the daemon, guided by the code that each way through it reaches.

usage: tools/fuzz.py [packets|sessions] [SECONDS]

Both when none is named, a minute each. What was found stays in build/fuzz: inputs that reach something new, for the
next time, and one for each failure, which is run again by naming it: tools/fuzz.py sessions build/fuzz/crash-...
Sessions need root, and work on a filesystem in memory that is made for them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "fuzz"
SECONDS = "60"
#: environment variable with the directory for sessions: this process is the one that is fuzzed
TOP = "FP_FUZZ_TOP"
sys.path.insert(0, str(ROOT / "tests"))


def main(arguments: list[str]) -> int:
    """Run fuzzers, each in a process of its own, for it does not come back."""
    kinds = [one for one in arguments if one in TARGETS] or list(TARGETS)
    if "sessions" in kinds and os.geteuid() != 0:
        print("fuzz: sessions need root; only packets are tried", file=sys.stderr)
        kinds.remove("sessions")
    others = [one for one in arguments if one not in TARGETS]
    failed = [kind for kind in kinds if run(kind, *others)]
    if failed:
        print(f"fuzz: failures of {', '.join(failed)}; see {OUT}", file=sys.stderr)
    return bool(failed)


def run(kind: str, what: str = SECONDS) -> int:
    """
    Run one fuzzer.

    :param what: for how many seconds, or the file with an input
    :return: its exit code
    """
    from mounting import Mounter

    corpus = OUT / kind
    corpus.mkdir(parents=True, exist_ok=True)
    how = [f"-max_total_time={what}", str(corpus)] if what.isdigit() else [what]
    options = ["-max_len=2048", "-len_control=0", "-timeout=60", f"-artifact_prefix={OUT}/", "-print_final_stats=1"]
    if kind == "packets":
        from daemon.fuzzing import PACKETS

        for n, packet in enumerate(PACKETS):
            (corpus / f"message{n}").write_bytes(packet)
    mounter = Mounter()
    try:
        top = mounter.make("tmpfs") if kind == "sessions" else mounter.base
        command = [sys.executable, __file__, kind, *options, *how]
        return subprocess.run(command, env={**os.environ, TOP: str(top)}, check=False).returncode
    finally:
        mounter.undo()


class Guided:
    """Choices that the fuzzer makes."""

    def __init__(self, data: bytes) -> None:
        import atheris

        self._provider = atheris.FuzzedDataProvider(data)

    def below(self, n: int) -> int:
        """A number from 0 to before *n*."""
        return int(self._provider.ConsumeIntInRange(0, n - 1))

    def bytes(self, n: int) -> bytes:
        """At most *n* bytes of any kind."""
        return bytes(self._provider.ConsumeBytes(n))


def packets() -> Callable[[bytes], None]:
    """Packets as the fuzzer draws them, and its input as it is, read and sent."""
    from daemon.fuzzing import Attacker, draw_n_fds, draw_packet, read

    attacker = Attacker()

    def try_one(data: bytes) -> None:
        choices = Guided(data)
        n_fds, drawn = draw_n_fds(choices), draw_packet(choices)
        for packet in (data, drawn):
            read(packet)
            attacker.attack(packet, n_fds)

    return try_one


def sessions() -> Callable[[bytes], None]:
    """Whole connections."""
    from daemon.fuzzing_sessions import Connection, Ground, failures

    ground = Ground(Path(os.environ[TOP]))

    def try_one(data: bytes) -> None:
        with failures() as failed:
            connection = Connection(ground)
            try:
                connection.play(Guided(data))
            finally:
                connection.end()
        assert not failed, failed

    return try_one


TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {"packets": packets, "sessions": sessions}


def fuzz(kind: str, options: list[str]) -> None:
    """Be the process that is fuzzed; it ends when the fuzzer does."""
    import atheris

    # what is compiled cannot be followed; how the choices are used is, so that it learns to make them
    with atheris.instrument_imports(include=["fanotify_fastpath._wire", "fanotify_fastpath._daemon", "daemon"]):
        try_one = TARGETS[kind]()
    atheris.Setup([sys.argv[0], *options], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    if TOP in os.environ:
        fuzz(sys.argv[1], sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
