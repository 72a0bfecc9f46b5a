"""
Modules: handlers from installed packages and from files, for this process or for all.

A package offers handlers by entry points of the group ``fanotify_fastpath.handlers``. A file is Python, of which the
handlers with a name that it defines are loaded, or a program for the kernel: C, an object file, or bitcode.
"""

import contextlib

from fanotify_fastpath._modules.listing import Loaded, shared_list
from fanotify_fastpath._modules.sources import normal, origin, read_source
from fanotify_fastpath.errors import HandlerNotFound, InvalidArgument
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.registry import Registry
from fanotify_fastpath.registry import registry as default_registry

__all__ = ["Loaded", "load", "load_for_all", "unload", "unload_for_all"]


def load(source: str, registry: Registry = default_registry) -> tuple[type[Handler], ...]:
    """
    Run the code of a source, and register its handlers for this process, all or none.

    :param source: name of an installed package, or path of a file
    :param registry: where they are registered
    :return: the handlers
    :raises HandlerExists: one of the names is taken
    :raises HandlerNotFound: no such package, or it offers no handlers
    :raises InvalidArgument: not a kind of file that is known, or a handler's declaration is not right
    :raises PathNotFound: no such file
    :raises SourceRefused: the code does not work, or defines no handlers
    """
    handlers = read_source(normal(source))
    with contextlib.ExitStack() as undo:
        for handler in handlers:
            registry.register(handler)
            undo.callback(registry.unregister, handler.name)
        undo.pop_all()
    return handlers


def unload(what: str, registry: Registry = default_registry, *, force: bool = False) -> tuple[str, ...]:
    """
    Delist handlers of this process.

    :param what: name of a handler, or a source: all of its handlers
    :param registry: where they are registered
    :param force: also what is in use: groups that have it keep it, new attaches fail
    :return: the names
    :raises HandlerNotFound: no such handler, or nothing of that source is loaded
    :raises HandlerBusy: a group has one of them attached; then all stay
    """
    names = (what,) if what in registry else _names_from(what, registry)
    if force:
        for name in names:
            registry.unregister(name)
    else:
        registry.unload(*names)
    return names


def load_for_all(source: str) -> Loaded:
    """
    List the handlers of a source for every process of this machine, all or none; for root.

    :param source: name of an installed package, or path of a file; root owns it, and nobody else may write to it
    :raises NotPermitted: this user is not root, or others could change the code
    :raises: as :func:`load`
    """
    return shared_list.load(source, default_registry)


def unload_for_all(what: str, *, force: bool = False) -> tuple[str, ...]:
    """
    Delist what :func:`load_for_all` has listed; for root.

    :param what: name of a handler, or a source: all of its handlers
    :param force: also what is in use: groups that have it keep it, new attaches fail
    :return: the names
    :raises NotPermitted: this user is not root
    :raises HandlerNotFound: no such handler, or nothing of that source is listed
    :raises HandlerBusy: a process uses one of them; then all stay
    """
    return shared_list.unload(what, force=force)


def _names_from(what: str, registry: Registry) -> tuple[str, ...]:
    names: tuple[str, ...] = ()
    with contextlib.suppress(InvalidArgument):
        source = normal(what)
        names = tuple(handler.name for handler in registry if origin(handler) == source)
    if not names:
        raise HandlerNotFound(f"nothing named {what!r}, or from a source of that name, is loaded in this process")
    return names
