"""Sources of handlers for the tests: files and packages in temporary directories."""

import importlib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanotify_fastpath._modules.sources import GROUP

OTHERS = Path(__file__).parent / "others_handlers.py"
#: what that file defines
NAMES = ("others-monitor-subtree", "others-ignore-prefix")

_HANDLER = """
    import fanotify_fastpath as fan

    class Mine(fan.Handler):
        name = {name!r}
        desc = {desc!r}
        flags = fan.HandlerFlags.UNPRIVILEGED

        def handle(self, event):
            return fan.SKIP_EVENT
"""


def write_handler(path: Path, name: str = "mine", desc: str = "skip all") -> Path:
    """A file with one handler."""
    path.write_text(textwrap.dedent(_HANDLER.format(name=name, desc=desc)))
    return path


@contextmanager
def installed(directory: Path, distribution: str, package: str, entry_points: str) -> Iterator[Path]:
    """
    A package that can be imported, with its metadata; its module ``handlers`` is a copy of ``others_handlers.py``.

    :param entry_points: lines of the group
    """
    home = directory / package
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    shutil.copy(OTHERS, home / "handlers.py")
    info = directory / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{textwrap.dedent(entry_points)}\n")
    sys.path.insert(0, os.fspath(directory))
    importlib.invalidate_caches()
    try:
        yield home
    finally:
        sys.path.remove(os.fspath(directory))
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
