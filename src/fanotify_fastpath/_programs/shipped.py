"""
Objects of the handlers that come with the package, made when it was built: so that they need no LLVM.

They are found by what they were made of, LLVM's code and the frame: what has changed since is not found.
"""

import hashlib
from importlib import resources
from pathlib import Path
from typing import Final

_DIRECTORY: Final = "handlers"


def find(ir: str, frame: bytes) -> bytes | None:
    """The object of this code, if it came with the package."""
    objects = resources.files("fanotify_fastpath._bpf").joinpath("objects", _DIRECTORY)
    try:
        return objects.joinpath(_name(ir, frame)).read_bytes()
    except OSError:
        return None


def put(objects: Path, ir: str, frame: bytes, data: bytes) -> None:
    """
    Let an object come with the package.

    :param objects: the package's directory of objects
    """
    directory = objects / _DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _name(ir, frame)).write_bytes(data)


def _name(ir: str, frame: bytes) -> str:
    return hashlib.sha256(frame + ir.encode()).hexdigest() + ".bpf.o"
