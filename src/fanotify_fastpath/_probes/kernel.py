"""Does the kernel engine work here? It is tried, and what it needs is looked at."""

import ctypes
import errno
import os
import platform

from fanotify_fastpath._engines.choose import make_engine
from fanotify_fastpath._probes.report import Check, EngineReport
from fanotify_fastpath._probes.system import capabilities, read_text
from fanotify_fastpath.errors import FastpathError

_SECURITYFS = "/sys/kernel/security"
_BTF = "/sys/kernel/btf/vmlinux"
_NEEDED = ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN")
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_BPF_PROG_LOAD = 5
_BPF_PROG_TYPE_TRACEPOINT = 5
# r0 = 0; exit
_PROGRAM = bytes.fromhex("b7000000000000009500000000000000")


def probe() -> EngineReport:
    """Open a group, and look at each thing that the engine needs."""
    try:
        make_engine("kernel", include_self=False, submounts="skip", max_queued=1, with_tid=False, merge=True).close()
        works, reason = True, "a group can be opened"
    except FastpathError as exc:
        works, reason = False, str(exc)
    return EngineReport("kernel", works, reason, (_btf(), _lsm(), _lockdown(), _capabilities(), _bpf()))


def _btf() -> Check:
    has_btf = os.access(_BTF, os.R_OK)
    return Check("BTF", has_btf, f"{_BTF} is {'there' if has_btf else 'missing (CONFIG_DEBUG_INFO_BTF)'}")


def _lsm() -> Check:
    active = read_text(f"{_SECURITYFS}/lsm")
    if active is None:
        return Check("BPF LSM", None, f"{_SECURITYFS}/lsm cannot be read; mount securityfs there to know")
    has_bpf = "bpf" in active.split(",")
    return Check("BPF LSM", has_bpf, f"active LSMs are {active}" + ("" if has_bpf else "; boot with lsm=…,bpf to deny"))


def _lockdown() -> Check:
    text = read_text(f"{_SECURITYFS}/lockdown")
    if text is None:
        return Check("lockdown", None, f"{_SECURITYFS}/lockdown cannot be read; this kernel may not have it")
    mode = text.partition("[")[2].partition("]")[0]
    return Check("lockdown", mode != "confidentiality", f"lockdown is {mode or text}")


def _capabilities() -> Check:
    have = capabilities()
    missing = [name for name in _NEEDED if not have[name]]
    return Check("capabilities", not missing, f"missing are {', '.join(missing)}" if missing else "all needed are held")


def _bpf() -> Check:
    """Load the smallest program there is."""
    number = _SYS_BPF.get(platform.machine())
    if number is None:
        return Check("bpf()", None, f"not tried on {platform.machine()}")
    # What the attributes point at must live until the call is over.
    program, licence = ctypes.create_string_buffer(_PROGRAM), ctypes.create_string_buffer(b"GPL")
    attributes = (ctypes.c_uint64 * 16)()
    attributes[0] = _BPF_PROG_TYPE_TRACEPOINT | len(_PROGRAM) // 8 << 32
    attributes[1] = ctypes.addressof(program)
    attributes[2] = ctypes.addressof(licence)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.c_int(_BPF_PROG_LOAD), attributes, ctypes.c_uint(ctypes.sizeof(attributes))
    )
    if fd < 0:
        code = ctypes.get_errno()
        return Check(
            "bpf()", False, f"loading a program is refused: {errno.errorcode.get(code, code)} ({os.strerror(code)})"
        )
    os.close(fd)
    return Check("bpf()", True, "a program can be loaded")
