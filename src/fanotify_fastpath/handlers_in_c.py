"""
Handlers that are programs for the kernel: in C, or compiled already.

docs/handlers-in-c.md tells how one is written.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from fanotify_fastpath._compiler.linking import make_object
from fanotify_fastpath._programs.clang import compile_c
from fanotify_fastpath._programs.handler import HandlerInC
from fanotify_fastpath._programs.object_code import read_object
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.handlers import Handler, check_handler

__all__ = ["read_handler"]


def read_handler(path: str | os.PathLike[str]) -> type[Handler]:
    """
    Make a handler of a file: C (``.c``), an object file (``.o``), or LLVM bitcode (``.bc``).

    Nothing of it runs, and nothing is loaded, before it is attached. On engine ``kernel`` its program is asked in the
    kernel, on engine ``fanotify`` by the listener, who runs it for each event and needs CAP_BPF and CAP_PERFMON for it.

    :return: a class for :meth:`Group.attach <fanotify_fastpath.Group.attach>` or the registry
    :raises OSError: the file cannot be read
    :raises InvalidArgument: it is no handler, was made for another version of this package, or cannot be compiled
    :raises UnsupportedFeature: clang, llvmlite or libbpf is not installed
    """
    source = os.fspath(path)
    read = next((each for suffix, each in _READERS.items() if source.endswith(suffix)), None)
    if read is None:
        raise InvalidArgument(f"{source!r} is no handler's program; their names end in {', '.join(_READERS)}")
    code, manifest = read_object(read(source), source)
    for name in (*manifest.states, *(argument.name for argument in manifest.arguments)):
        if hasattr(HandlerInC, name):
            raise InvalidArgument(f"{source} is no handler that can be used: {name!r} has a meaning; name it otherwise")
    members = {
        "__doc__": manifest.desc,
        "__module__": __name__,
        "name": manifest.name,
        "desc": manifest.desc,
        "flags": manifest.flags,
        "depends": manifest.depends,
        "arguments": tuple(manifest.arguments),
        "code": code,
    }
    made = type("HandlerInC", (HandlerInC,), {**members, **manifest.states})
    check_handler(made)
    return made


def _read_c(path: str) -> bytes:
    with open(path, "rb"):  # clang would say less
        return compile_c(path)


def _read_bitcode(path: str) -> bytes:
    return make_object(_read_file(path))


def _read_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


_READERS: Final[Mapping[str, Callable[[str], bytes]]] = {".c": _read_c, ".o": _read_file, ".bc": _read_bitcode}
