"""Capabilities of this process, read from ``/proc/self/status``."""

#: the ones this package has to do with, by number
CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_AUDIT_WRITE": 29,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}


def effective() -> int:
    """Return the effective capability set of the calling thread as a bit mask."""
    with open("/proc/thread-self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has(name: str) -> bool:
    """Tell whether the calling thread has the capability *name* in its effective set."""
    return bool(effective() >> CAPABILITIES[name] & 1)
