"""
Sources of handlers: an installed package that offers them, or a file.

A package offers handlers by entry points of the group ``fanotify_fastpath.handlers``, each a handler class, or a module
whose handlers are all meant. A file is Python, or a program for the kernel; :data:`READERS` tells what reads it, by the
end of its name.
"""

import os
import re
import sys
import weakref
from collections.abc import Callable, Iterable
from types import CodeType, ModuleType

from fanotify_fastpath.errors import (
    FastpathError,
    HandlerNotFound,
    InvalidArgument,
    NotPermitted,
    PathNotFound,
    SourceRefused,
)
from fanotify_fastpath.handlers import Handler, check_handler

#: group of the entry points
GROUP = "fanotify_fastpath.handlers"
Handlers = tuple[type[Handler], ...]
#: is given the path of each file before code in it runs
Check = Callable[[bytes], None]

_origins: "weakref.WeakKeyDictionary[type[Handler], str]" = weakref.WeakKeyDictionary()


def normal(source: str) -> str:
    """
    The one form of a source's name: an absolute path, or the name of a package as package indexes write it.

    :raises InvalidArgument: a path that no kind of file ends like
    """
    if _suffix(source):
        return os.path.abspath(source)
    if "/" in source or not source:
        raise InvalidArgument(f"{source!r} is no file of handlers; their names end in {', '.join(READERS)}")
    return re.sub(r"[-_.]+", "-", source).lower()


def origin(handler: type[Handler]) -> str | None:
    """The source that a handler was read from; None for one that was not."""
    return _origins.get(handler)


def read_source(source: str, check: Check = lambda path: None) -> Handlers:
    """
    Run the code of a source, and return its handlers.

    :param source: as :func:`normal` gives it
    :param check: may refuse a file, by an exception
    :raises HandlerNotFound: no such package, or it offers none
    :raises PathNotFound: no such file
    :raises SourceRefused: it is broken, or has no handlers
    """
    suffix = _suffix(source)
    found = tuple(READERS[suffix](source, check) if suffix else _of_package(source, check))
    if not found:
        raise SourceRefused(f"{source!r} has no handlers: no subclass of Handler with a name is defined in it")
    for handler in found:
        check_handler(handler)
        _origins[handler] = source
    return found


def _suffix(source: str) -> str | None:
    return next((suffix for suffix in READERS if source.endswith(suffix)), None)


def _of_package(name: str, check: Check) -> Iterable[type[Handler]]:
    from importlib import metadata

    entries = [one for one in metadata.entry_points(group=GROUP) if one.dist and normal(one.dist.name) == name]
    if not entries:
        raise HandlerNotFound(f"no package {name!r} that offers handlers (entry points {GROUP!r}) is installed here")
    found: dict[type[Handler], None] = {}  # in order, each once
    for entry in entries:
        with _Blaming(f"{name!r}, entry point {entry.name!r}"):
            _check_module(entry.module, check)
            offered = entry.load()
        if isinstance(offered, ModuleType):
            found.update(dict.fromkeys(_defined_in(offered)))
        elif isinstance(offered, type) and issubclass(offered, Handler):
            found[offered] = None
        else:
            raise SourceRefused(f"{name!r}, entry point {entry.name!r}: {offered!r} is neither a handler nor a module")
    return found


def _check_module(name: str, check: Check) -> None:
    """Check the files of a module and of the packages that it lies in, from the outside: each runs before the next."""
    from importlib.util import find_spec

    parts = name.split(".")
    for n in range(len(parts)):
        spec = find_spec(".".join(parts[: n + 1]))
        for place in [spec.origin, *(spec.submodule_search_locations or ())] if spec else ():
            if place is not None:
                check(os.fsencode(place))


def _of_python(path: str, check: Check) -> Iterable[type[Handler]]:
    check(os.fsencode(path))
    from hashlib import sha256  # here, because most programs load nothing

    data = _content(path)
    name = f"fanotify_fastpath_file_{sha256(os.fsencode(path) + data).hexdigest()[:16]}"
    if name not in sys.modules:
        _run(name, path, data)
    found = _defined_in(sys.modules[name])
    if not found:
        del sys.modules[name]
    return found


def _of_program(path: str, check: Check) -> Iterable[type[Handler]]:
    check(os.fsencode(path))
    _content(path)  # says what is wrong with the file itself
    from fanotify_fastpath.handlers_in_c import read_handler

    try:
        return [read_handler(path)]
    except InvalidArgument as exc:
        raise SourceRefused(f"cannot load handlers from {path!r}: {exc}", path=path) from None


def _run(name: str, path: str, data: bytes) -> None:
    """Run a file as a module of its own. Nothing is read from, or left in, a cache beside it."""
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    class Loader(SourceFileLoader):
        def get_data(self, path: str) -> bytes:
            return data

        def get_code(self, fullname: str) -> CodeType:
            code: CodeType = self.source_to_code(data, path)
            return code

    spec = spec_from_loader(name, Loader(name, path))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        with _Blaming(repr(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as exc:
        raise PathNotFound(f"cannot load handlers from {path!r}: no such file", path=path) from exc
    except PermissionError as exc:
        raise NotPermitted(f"cannot load handlers from {path!r}: it may not be read", path=path) from exc
    except OSError as exc:
        raise SourceRefused(f"cannot load handlers from {path!r}: {exc.strerror}", path=path) from exc


def _defined_in(module: ModuleType) -> list[type[Handler]]:
    """The handlers that a module defines, without those that it imports or has only as bases."""
    return [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Handler) and thing.__module__ == module.__name__ and thing.name
    ]


class _Blaming:
    """Turns what other people's code raises into an error that says whose it is."""

    def __init__(self, whose: str) -> None:
        self._whose = whose

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, FastpathError) or not isinstance(exc, (Exception, SystemExit)):
            return
        line = f" (line {exc.lineno})" if isinstance(exc, SyntaxError) else ""
        said = exc.msg if isinstance(exc, SyntaxError) else exc
        raise SourceRefused(f"cannot load handlers from {self._whose}: {type(exc).__name__}: {said}{line}") from exc


#: what reads each kind of file, by the end of its name
READERS: dict[str, Callable[[str, Check], Iterable[type[Handler]]]] = {
    ".py": _of_python,
    **dict.fromkeys((".c", ".o", ".bc"), _of_program),
}
