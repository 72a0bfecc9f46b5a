"""
Programs that were drawn and compiled before: machines that translate each instruction need seconds to compile one.

From the checkout, into the directory in which tests/kernel finds them, unless anything that they are made of changes::

    PYTHONPATH=tests .venv/bin/python -m compiler.drawing.before
"""

import gzip
import hashlib
import pickle
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fanotify_fastpath import _compiler
from fanotify_fastpath._compiler.model import Compiled, StateKind
from fanotify_fastpath.compiling import CompiledHandler, compile_handler, read_frame
from fanotify_fastpath.errors import CompileError
from fanotify_fastpath.handlers import Handler

from . import comparing
from .comparing import Case, draw_case, make_handler
from .many import N_MANY, PARTS, check_outcomes, seeds_of
from .program import Program

_HERE = Path(__file__).parent
_DIRECTORY = _HERE.parents[2] / "build" / "drawn"
#: how a compiled handler is run; of what was compiled and an instance
Run = Callable[[CompiledHandler, Handler], AbstractContextManager[comparing.Compiled]]


@dataclass(frozen=True)
class Refused:
    """
    A program that the compiler refused.

    :ivar reason: what it said
    """

    seed: str
    reason: str

    def compare(self, run: Run) -> Program:
        """Refuse it again."""
        raise CompileError(self.seed, 1, 1, "", self.reason)


@dataclass(frozen=True)
class Accepted:
    """A program with all that a ``CompiledHandler`` has but its class, which is made anew."""

    case: Case
    object_file: bytes
    needs: int
    compiled: Compiled
    state: dict[str, StateKind]

    def compare(self, run: Run) -> Program:
        """
        Compare what is said of its events.

        :raises AssertionError: something differs
        """

        def start(kind: type[Handler], instance: Handler) -> AbstractContextManager[comparing.Compiled]:
            return run(CompiledHandler(kind, self.object_file, self.needs, self.compiled, self.state), instance)

        return comparing.check(self.case, start)


Before = Refused | Accepted


def compare_before(part: int, run: Run) -> bool:
    """
    Compare the programs of a part of very many; see :func:`~compiler.drawing.many.check_outcomes`.

    :return: whether there are any
    """
    path = _path(part)
    if not path.exists():
        return False
    found: list[Before] = pickle.loads(gzip.decompress(path.read_bytes()))
    check_outcomes(N_MANY // PARTS, (partial(each.compare, run) for each in found))
    return True


def _path(part: int) -> Path:
    """Where a part is, under a name that tells what it was made of."""
    packages = Path(_compiler.__file__).parent, _HERE.parent
    sources = (source for package in packages for source in sorted(package.rglob("*.py")))
    digest = hashlib.sha256(b"".join([read_frame(), *(source.read_bytes() for source in sources)])).hexdigest()
    return _DIRECTORY / digest / f"{part}.pickle.gz"


def _make(part: int) -> None:
    made: list[Before] = []
    n_accepted = 0
    for seed in seeds_of("kernel", part):
        made.append(_attempt(seed))
        n_accepted += isinstance(made[-1], Accepted)
        # some may be too large for the verifier
        if n_accepted == N_MANY // PARTS * 11 // 10:
            break
    path = _path(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(made), 1))


def _attempt(seed: str) -> Before:
    case = draw_case(seed)
    kind, _ = make_handler(case.program)
    try:
        found = compile_handler(kind, read_frame())
    except CompileError as exc:
        return Refused(seed, exc.reason)
    return Accepted(case, found.object_file, found.needs, found.compiled, found.state)


def main() -> int:
    """Make what is not there yet."""
    if not all(_path(part).exists() for part in range(PARTS)):
        shutil.rmtree(_DIRECTORY, ignore_errors=True)
        with ProcessPoolExecutor() as pool:
            list(pool.map(_make, range(PARTS)))
    return 0


if __name__ == "__main__":
    # else what is pickled would belong to __main__
    from compiler.drawing import before

    sys.exit(before.main())
