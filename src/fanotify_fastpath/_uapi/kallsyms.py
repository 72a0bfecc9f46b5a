"""Where the kernel's symbols are, as far as it says so."""

import functools

_KALLSYMS = "/proc/kallsyms"


@functools.cache
def symbol_address(name: str) -> int | None:
    """
    Tell where a symbol of the kernel's own is; None where there is none or the kernel hides it. Looked up once.

    It hides all from those without CAP_SYSLOG (``kernel.kptr_restrict`` 0 or 1), and from everybody with 2.

    :source: kallsyms_show_value() in kernel/ksyms_common.c (v6.12)
    """
    with open(_KALLSYMS, encoding="ascii") as lines:
        for line in lines:
            address, _, symbol = line.split(maxsplit=2)
            if symbol.rstrip() == name:
                return int(address, 16) or None
    return None
