"""What BPF objects the kernel has, whoever made them: asked by their numbers, not by what this package remembers."""

import ctypes
import errno
import os
import platform

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
#: enum bpf_cmd, include/uapi/linux/bpf.h (v6.12): BPF_PROG_GET_NEXT_ID and the like
_NEXT_ID = {"program": 11, "map": 12, "link": 31}

_libc = ctypes.CDLL(None, use_errno=True)


class _NextId(ctypes.Structure):
    """:source: union bpf_attr, include/uapi/linux/bpf.h"""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("start_id", "next_id", "open_flags"))


def census() -> dict[str, set[int]]:
    """The numbers of all programs, maps and links. The kernel may take a moment to remove what nobody uses any more."""
    return {kind: _ids(command) for kind, command in _NEXT_ID.items()}


def n_descriptors() -> int:
    """How many descriptors this process has, without the one that it takes to count them."""
    return len(os.listdir("/proc/self/fd")) - 1


def n_mappings() -> int:
    """How many pieces of BPF maps this process has mapped into its memory."""
    with open("/proc/self/maps") as lines:
        return sum("bpf" in line for line in lines)


def _ids(command: int) -> set[int]:
    found: set[int] = set()
    attributes = _NextId()
    number = _SYS_BPF[platform.machine()]
    while _libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
        found.add(attributes.next_id)
        attributes.start_id = attributes.next_id
    if ctypes.get_errno() != errno.ENOENT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found
