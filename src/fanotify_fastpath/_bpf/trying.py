"""Which kinds of programs the kernel loads for this process: asked by two instructions, in microseconds."""

import ctypes
import errno
import os
import platform
import struct
from enum import IntEnum

#: of the system call bpf()
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD = 5
# r0 = 0; exit
_INSTRUCTIONS = bytes.fromhex("b7000000000000009500000000000000")
#: union bpf_attr up to attach_prog_fd, include/uapi/linux/bpf.h (v6.12): type, number of instructions, these, licence,
#: the log, version, flags, name, interface, attach type, types, functions, lines, what to attach to
_ATTRIBUTES = struct.Struct("=IIQQ IIQ II16s II II QI I QI II 12x")


class ProgramType(IntEnum):
    """
    The types of programs that are tried.

    :source: enum bpf_prog_type, include/uapi/linux/bpf.h (v6.12)
    """

    KPROBE = 2
    TRACEPOINT = 5
    TRACING = 26


#: enum bpf_attach_type: BPF_TRACE_FENTRY
FENTRY = 24
#: of vmlinux: a type that is no function, so that nothing can be attached
_NO_FUNCTION = 1


def refusal(program_type: ProgramType, attach_type: int = 0) -> int | None:
    """
    Try to load the smallest program there is of a type.

    One for trampolines names no function, so that the kernel cannot take it; but whether the type is allowed at all is
    asked before, and refused with EPERM.

    :return: the error, 0 if there is none; None on machines whose number for the system call is not known here
    """
    number = _NUMBERS.get(platform.machine())
    if number is None:
        return None
    # what the attributes point at must live until the call is over
    program, licence = ctypes.create_string_buffer(_INSTRUCTIONS), ctypes.create_string_buffer(b"GPL")
    attributes = _ATTRIBUTES.pack(
        program_type, len(_INSTRUCTIONS) // 8, ctypes.addressof(program), ctypes.addressof(licence),
        0, 0, 0, 0, 0, b"", 0, attach_type, 0, 0, 0, 0, 0, 0, 0,
        _NO_FUNCTION if program_type is ProgramType.TRACING else 0, 0,
    )  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.c_int(_PROG_LOAD), ctypes.c_char_p(attributes), ctypes.c_uint(len(attributes))
    )
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return 0


def is_forbidden(program_type: ProgramType, attach_type: int = 0) -> bool:
    """Tell whether programs of a type are not allowed here; if this is not so, they still may not work."""
    return refusal(program_type, attach_type) == errno.EPERM
