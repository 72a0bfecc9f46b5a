"""How much work the tests do that only repeat something: what is checked stays the same."""

import os

#: part of the usual work; the machines that translate each instruction do less (FP_WORK, set by tools/vm test)
WORK = float(os.environ.get("FP_WORK", "1"))


def repeated(n_usual: int, n_least: int = 1) -> int:
    """
    How often to repeat something here.

    :param n_usual: where the processor runs at its own speed
    :param n_least: from this number on it shows what it is to show
    """
    return max(n_least, round(n_usual * WORK))
