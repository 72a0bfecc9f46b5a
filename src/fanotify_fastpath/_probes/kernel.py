"""Does the kernel engine work here? It is tried, and what it needs is looked at."""

import errno
import os
import platform

from fanotify_fastpath._bpf.trying import ProgramType, refusal
from fanotify_fastpath._engines.base import Engine
from fanotify_fastpath._engines.choose import forbidder_of, make_engine
from fanotify_fastpath._probes.report import Check, EngineReport
from fanotify_fastpath._probes.system import capabilities, read_text
from fanotify_fastpath._uapi.lsm import active_modules
from fanotify_fastpath.errors import FastpathError

_SECURITYFS = "/sys/kernel/security"
_BTF = "/sys/kernel/btf/vmlinux"
_NEEDED = ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN")


def probe() -> EngineReport:
    """Open a group, and look at each thing that the engine needs."""
    try:
        engine = make_engine("kernel", include_self=False, submounts="skip", max_queued=1, with_tid=False, merge=True)
    except FastpathError as exc:
        deny = Check("denying", False, "not without this engine")
        return EngineReport("kernel", False, str(exc), (*_needs(), deny))
    try:
        return EngineReport("kernel", True, "a group can be opened", (*_needs(), _deny(engine)))
    finally:
        engine.close()


def _needs() -> tuple[Check, ...]:
    return _btf(), _lsm(), _lockdown(), _capabilities(), _bpf()


def _deny(engine: Engine) -> Check:
    """Load the programs that deny, and attach each where nothing is denied."""
    try:
        return Check("denying", True, forbidder_of(engine).try_all())
    except FastpathError as exc:
        return Check("denying", False, str(exc))


def _btf() -> Check:
    has_btf = os.access(_BTF, os.R_OK)
    return Check("BTF", has_btf, f"{_BTF} is {'there' if has_btf else 'missing (CONFIG_DEBUG_INFO_BTF)'}")


def _lsm() -> Check:
    modules = active_modules()
    if modules is None:
        return Check("BPF LSM", None, "the active LSMs cannot be read")
    has_bpf = "bpf" in modules
    active = ",".join(modules)
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
    code = refusal(ProgramType.TRACEPOINT)
    if code is None:
        return Check("bpf()", None, f"not tried on {platform.machine()}")
    if code:
        return Check(
            "bpf()", False, f"loading a program is refused: {errno.errorcode.get(code, code)} ({os.strerror(code)})"
        )
    return Check("bpf()", True, "a program can be loaded")
