"""What goes into a machine and comes out of it, and that nothing is left behind; on one kernel unless it matters."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vmtier.suite import all_series

from mounting import give_up
from outcomes import wait_until

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, str(ROOT / "tools" / "vm"), "run"]
#: for a boot, on a host that does something else as well
DEADLINE_S = 100
GONE, PANICKED, TIMED_OUT, FAILED = 122, 123, 124, 125

pytestmark = pytest.mark.vm


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files, where nothing is left in the end; and no process is that used it."""
    if os.geteuid() != 0:
        give_up("virtual machines need root")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    wait_until(lambda: servants(tmp_path) == [], "QEMU and the servers of its files end")
    assert list(tmp_path.glob("fanotify-fastpath-*")) == []


def servants(work: Path) -> list[str]:
    """The processes that serve a machine whose files are there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except OSError:  # it has ended
            continue
        if any(path.startswith(f"{work}/fanotify-fastpath-vm-") for path in opened):
            found.append(process.name)
    return found


def in_machine(*command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in a machine."""
    return subprocess.run([*RUN, *options, "--", *command], capture_output=True, timeout=DEADLINE_S)


@pytest.mark.parametrize("series", all_series())
def test_each_kernel_says_what_it_is(series: str) -> None:
    done = in_machine("sh", "-c", "uname -r; exit 42", options=("--kernel", series))
    assert done.stdout.decode().startswith(f"{series}.")
    assert done.returncode == 42


@pytest.mark.parametrize("code", [0, 1, 255])
def test_the_exit_code_is_passed_on(code: int) -> None:
    assert in_machine("sh", "-c", f"exit {code}").returncode == code


def test_the_signal_that_ended_the_command_is_passed_on() -> None:
    assert in_machine("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_every_byte_of_arguments_and_output_is_passed_on() -> None:
    argument = os.fsdecode(bytes(range(1, 256)) + b"\r\n 'quoted' \"$HOME\"\n")
    done = in_machine("sh", "-c", r'printf "%s" "$1"; printf "\000\377\n" >&2', "sh", argument)
    assert done.stdout == os.fsencode(argument)
    assert done.stderr == b"\0\xff\n"
    assert done.returncode == 0


def test_much_output_is_passed_on_whole() -> None:
    done = in_machine("head", "-c", "10000000", "/dev/zero")
    assert done.stdout.count(b"\0") == len(done.stdout) == 10_000_000


def test_the_hosts_files_are_seen_and_stay_as_they_are(work: Path) -> None:
    (work / "of-the-host").touch()
    marker = ROOT / "build" / f"written-inside-{os.getpid()}"
    script = 'pwd; cat README.md; mkdir -p build; touch "$1"; ls "$1"; touch /tmp/x; ls "$2"'
    done = in_machine("sh", "-c", script, "sh", str(marker), str(work))
    text = done.stdout.decode()
    assert text.startswith(f"{ROOT}\n{(ROOT / 'README.md').read_text()}")
    assert text.endswith(f"{marker}\n")
    assert not marker.exists()
    assert done.returncode == 2, "ls finds nothing of the host's temporary files"


def test_shared_directories_are_written_and_variables_set(work: Path) -> None:
    shared = work / "a directory"
    shared.mkdir()
    options = ("--share", str(shared), "--env", "GREETING=hello\nworld")
    done = in_machine("sh", "-c", 'printf "%s" "$GREETING" >"$1"', "sh", str(shared / "file"), options=options)
    assert (done.returncode, (shared / "file").read_text()) == (0, "hello\nworld")


def test_a_command_that_takes_too_long_is_ended() -> None:
    done = in_machine("sh", "-c", "echo begun; sleep 1000", options=("--timeout", "2"))
    assert (done.returncode, done.stdout) == (TIMED_OUT, b"begun\n")
    assert done.stderr == b"vm: the command was ended after 2 s\n"


def test_what_the_command_leaves_running_does_not_keep_the_machine() -> None:
    assert in_machine("sh", "-c", "sleep 1000 & exit 5").returncode == 5


@pytest.mark.parametrize("series", all_series())
def test_a_panic_is_told_with_the_kernels_last_words(series: str) -> None:
    done = in_machine("sh", "-c", "echo begun; sleep 1; echo c >/proc/sysrq-trigger", options=("--kernel", series))
    assert (done.returncode, done.stdout) == (PANICKED, b"begun\n")
    assert done.stderr.startswith(b"vm: the kernel panicked; last words:\n")
    assert b"sysrq" in done.stderr


def test_a_machine_that_ends_early_is_told() -> None:
    done = in_machine("sh", "-c", "echo o >/proc/sysrq-trigger; sleep 1000")
    assert done.returncode == GONE
    assert done.stderr.startswith(b"vm: the machine ended before the command did")


def test_instructions_are_counted_on_one_processor() -> None:
    done = in_machine("nproc", options=("--icount", "--cpus", "2"))
    assert (done.returncode, done.stdout) == (0, b"1\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_up", [True, False], ids=["running", "booting"])
def test_a_signal_ends_the_machine(work: Path, number: signal.Signals, is_up: bool) -> None:
    command = [*RUN, "--", "sh", "-c", "echo begun; sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        if is_up:
            assert runner.stdout.readline() == b"begun\n"
        else:
            wait_until(lambda: servants(work) != [], "the machine is being started")
        runner.send_signal(number)
        assert runner.wait(DEADLINE_S) == 128 + number


def test_nobody_reading_the_output_ends_the_machine() -> None:
    with subprocess.Popen([*RUN, "--", "yes"], stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"y\n"
        runner.stdout.close()
        assert runner.wait(DEADLINE_S) == 128 + signal.SIGPIPE


def test_a_shell_has_a_terminal() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.environ["SHELL"] = "/bin/sh"
        os.execv(RUN[0], RUN)
    try:
        os.write(terminal, b"tty; stty size; exit 7\r")
        output = b""
        while b"exit" not in output or b"hvc0" not in output:
            output += os.read(terminal, 1024)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 7


def test_make_passes_a_command_on_as_it_is() -> None:
    done = subprocess.run(
        ["make", "-s", "vm", "CMD=echo \"$((6*7))\" '#'"], cwd=ROOT, capture_output=True, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stdout) == (0, b"42 #\n"), done.stderr


def run_tests(work: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run tests in the machines: the exit code, and what was printed in the end, a line for each kernel."""
    command = [sys.executable, str(ROOT / "tools" / "vm"), "test", "--results", str(work / "results"), "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE_S)
    return done.returncode, done.stdout.splitlines()[-len(all_series()) :]


def test_tests_run_on_each_kernel_and_leave_a_line_and_a_file_of_results(work: Path) -> None:
    code, lines = run_tests(work, "tests/vm/inside/test_machine.py", "-k", "loopback")
    assert code == 0
    for series, line in zip(all_series(), lines, strict=True):
        assert re.fullmatch(rf"{re.escape(series)}\.\d+: 1 passed, 0 skipped, 0 failed in \d+ s", line)
        assert "loopback" in (work / "results" / f"junit-{series}.xml").read_text()


def test_a_skip_that_is_not_listed_fails(work: Path) -> None:
    module = ROOT / "build" / f"test_skipping_{os.getpid()}.py"
    module.parent.mkdir(exist_ok=True)
    module.write_text("import pytest\ndef test_it(): pytest.skip('why not')\n")
    try:
        code, lines = run_tests(work, str(module))
    finally:
        module.unlink()
    assert code == 1
    assert all("1 skipped, 0 failed" in line and "1 other skips than listed" in line for line in lines)


def test_missing_programs_are_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work))
    done = in_machine("true")
    assert done.returncode == FAILED
    assert done.stderr == (
        b"vm: qemu-system-x86_64 not found: make setup installs it as root, or: apt-get install qemu-system-x86\n"
    )
