"""
Run a program as a unit of systemd would have it: its capabilities, system calls, address families and umask, and a
listening socket that was opened before.

    usage: confined.py UNIT SOCKET COMMAND...

What systemd-analyze knows of system calls is asked of it. What of a unit is not done here: cgroups, and what depends on
the arguments of system calls other than socket().
"""

import ctypes
import errno
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_MDWE = 24, 38, 22, 65
_SECCOMP_MODE_FILTER = 2
_LISTEN_FDS_START = 3
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
#: struct seccomp_data: the number, and the lower half of the first argument
_NUMBER, _ARGUMENT = 0, 16
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06

_libc = ctypes.CDLL(None, use_errno=True)


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of each key of a unit, in order."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """The names of the system calls that are left by the lines of ``SystemCallFilter``."""
    allowed = _expand("@default")
    for line in filters:
        names = set().union(*(_expand(word) for word in line.removeprefix("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    done = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    inside = [line.strip() for line in done.stdout.splitlines()[1:]]
    return set().union(*(_expand(each) for each in inside if each and not each.startswith("#")))


def call_numbers() -> dict[str, int]:
    """The number of each system call here, as the C library's headers have it."""
    command = [shutil.which("cc") or "gcc", "-E", "-dM", "-include", "asm/unistd.h", "-"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    return {name: int(number) for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.MULTILINE)}


def _program(allowed: set[int], socket_number: int, families: list[int]) -> bytes:
    """The filter as struct sock_filter: code, jump if true, jump if false, constant."""
    made = [(_LOAD, 0, 0, _NUMBER), (_JUMP_IF_EQUAL, 0, 2 + 2 * len(families), socket_number), (_LOAD, 0, 0, _ARGUMENT)]
    for family in families:
        made += [(_JUMP_IF_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    made += [(_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT)]
    for number in sorted(allowed - {socket_number}):
        made += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    made += [(_RETURN, 0, 0, _FAIL | errno.EPERM)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in made)


def _prctl(option: int, *arguments: int | ctypes.c_void_p) -> None:
    given = [each if isinstance(each, ctypes.c_void_p) else ctypes.c_ulong(each) for each in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    if _libc.prctl(option, *given) < 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def _bounding_set(kept: list[str]) -> None:
    header = Path("/usr/include/linux/capability.h").read_text()
    names = re.findall(r"^#define (CAP_\w+)\s+(\d+)$", header, re.MULTILINE)
    numbers = {int(number) for name, number in names if name in kept}
    assert len(numbers) == len(kept), f"unknown capabilities among {kept}"
    for number in set(range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1)) - numbers:
        _prctl(_PR_CAPBSET_DROP, number)


def confine(unit: Path) -> None:
    """Give up what the unit does not leave, before another program is executed."""
    given = settings(unit)
    numbers = call_numbers()
    allowed = {numbers[name] for name in allowed_calls(given["SystemCallFilter"]) if name in numbers}
    families = [getattr(socket, name) for name in given["RestrictAddressFamilies"][0].split()]
    program = _program(allowed, numbers["socket"], families)
    os.umask(int(given["UMask"][0], 8))
    _bounding_set(given["CapabilityBoundingSet"][0].split())
    assert given["NoNewPrivileges"] == given["MemoryDenyWriteExecute"] == ["yes"]
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        _prctl(_PR_SET_MDWE, 1)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # before Linux 6.3
            raise
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer)))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)))


def hand_over_socket(path: str) -> None:
    """Listen, for the program that is executed next; everybody may connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen()
    os.dup2(listener.detach(), _LISTEN_FDS_START)
    os.set_inheritable(_LISTEN_FDS_START, True)
    os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = "1", str(os.getpid())


if __name__ == "__main__":
    hand_over_socket(sys.argv[2])
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[3], sys.argv[3:])
