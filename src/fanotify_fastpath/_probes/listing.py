"""Where can the handlers that are loaded for all be read?"""

import os

from fanotify_fastpath._modules.listing import shared_list
from fanotify_fastpath._modules.readable import is_mounted
from fanotify_fastpath._modules.trust import check_trusted
from fanotify_fastpath._probes.report import Check
from fanotify_fastpath.errors import PathNotFound


def probe() -> tuple[Check, ...]:
    """Look at both places."""
    return _directory(), _readable()


def _directory() -> Check:
    name = os.fsdecode(shared_list.directory)
    try:
        check_trusted(shared_list.directory, shared_list.owner_uid)
    except PathNotFound:
        return Check(name, True, "not there yet: nothing was loaded since this machine was started")
    except OSError as exc:
        return Check(name, False, str(exc))
    return Check(name, True, f"{len(shared_list.names())} loaded")


def _readable() -> Check:
    name = os.fsdecode(shared_list.readable)
    if not is_mounted(shared_list.readable):
        return Check(
            name, False, "no bpf filesystem is mounted there; handlers are listed without files of the kernel's"
        )
    return Check(
        name, True, "a bpf filesystem is mounted; whether iterators work is found out when a handler is loaded"
    )
