"""A handler that writes down what it is shown."""

import os

from fanotify_fastpath import SEND_TO_USERSPACE, Group, Handler, HandlerEvent, HandlerFlags, Verdict

OBJECT = ("size", "mode", "owner_uid", "owner_gid", "n_links")
PLACE = ("name", "dev", "inode", "dir_inode", "depth")
PROCESS = ("tgid", "uid", "gid", "cgroup_id", "ancestors")
Shown = dict[str, object]


def witness(group: Group) -> dict[bytes | None, Shown]:
    """Attach the handler, and return what it writes down."""
    handler = group.attach(Witness).handler
    assert isinstance(handler, Witness)
    return handler.shown


class Witness(Handler):
    """Sends everything, and keeps every field of each event by the name of the object."""

    name = "witness"
    flags = HandlerFlags.UNPRIVILEGED

    def init(self, *args: object, **arguments: object) -> None:
        self.shown: dict[bytes | None, Shown] = {}

    def handle(self, event: HandlerEvent) -> Verdict:
        fields = ("mask", "is_dir", "time_ns", *PLACE, *OBJECT, *PROCESS, "comm", "exe")
        self.shown[event.name] = {name: getattr(event, name) for name in fields}
        return SEND_TO_USERSPACE


def picked(shown: Shown, names: tuple[str, ...]) -> Shown:
    """Some of the fields."""
    return {name: shown[name] for name in names}


def object_fields(path: str | os.PathLike[str]) -> Shown:
    """The fields of an object by :func:`os.lstat`."""
    status = os.lstat(path)
    values = (status.st_size, status.st_mode, status.st_uid, status.st_gid, status.st_nlink)
    return dict(zip(OBJECT, values, strict=True))


def ancestors_of(tgid: int) -> tuple[int, ...]:
    """The chain of parents by ``/proc/<tgid>/stat``, at most 16."""
    found: list[int] = []
    while len(found) < 16:
        with open(f"/proc/{tgid}/stat", "rb") as file:
            tgid = int(file.read().rpartition(b")")[2].split()[1])
        if not tgid:
            break
        found.append(tgid)
    return tuple(found)
