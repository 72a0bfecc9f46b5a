"""The security hooks: programs that deny, each attached only while somebody denies what comes by there."""

import errno
from collections.abc import Mapping
from importlib import resources
from typing import Final

from fanotify_fastpath._bpf._abi import LAYOUTS, FpGuardFlag
from fanotify_fastpath._bpf._abi import FpDeny as Op
from fanotify_fastpath._bpf.libbpf import Link, Object
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._uapi.lsm import active_modules
from fanotify_fastpath.errors import FastpathError, KernelRefused, NotPermitted, UnsupportedFeature

#: object files, the better first: which of them works is found by trying
WAYS: Final = ("deny", "deny_probe")
#: by hook, the operations that are judged there
HOOKS: Final = {
    "file_open": Op.DENY_OPEN | Op.DENY_OPEN_DIR | Op.DENY_EXEC | Op.DENY_CREATE,
    "file_permission": Op.DENY_ACCESS | Op.DENY_ACCESS_DIR,
    "mmap_file": int(Op.DENY_ACCESS),
    "inode_create": int(Op.DENY_CREATE),
    "inode_mknod": int(Op.DENY_CREATE),
    "inode_mkdir": int(Op.DENY_MKDIR),
    "inode_symlink": int(Op.DENY_SYMLINK),
    "inode_unlink": int(Op.DENY_UNLINK),
    "inode_rmdir": int(Op.DENY_RMDIR),
    "inode_link": int(Op.DENY_LINK),
    "inode_rename": int(Op.DENY_RENAME),
    "inode_setattr": Op.DENY_SETATTR | Op.DENY_TRUNCATE,
    "inode_setxattr": int(Op.DENY_SETATTR),
    "inode_removexattr": int(Op.DENY_SETATTR),
    "inode_set_acl": int(Op.DENY_SETATTR),
    "inode_remove_acl": int(Op.DENY_SETATTR),
    "file_ioctl": int(Op.DENY_SETATTR),
    "file_ioctl_compat": int(Op.DENY_SETATTR),
}
#: of these not every kernel has each: where they are missing, another hook is called instead
_NEWER: Final = ("inode_set_acl", "inode_remove_acl", "file_ioctl_compat")
#: maps of lists, and the flag of a slot that has one
LISTS: Final = {FpGuardFlag.ONLY_PROCESSES: "processes", FpGuardFlag.ONLY_OBJECTS: "objects"}
#: maps that are not the dispatcher's
_OWN_MAPS: Final = ("exceptions", *LISTS.values())
#: programs that end the denying: of a filesystem, and of all
_ENDS: Final = ("on_sb_delete", "on_exit")


class Hooks:
    """
    The programs, loaded; :meth:`set_operations` attaches those that are needed.

    :param shared: maps of the dispatcher, by name, on which they work too
    :ivar way: name of the object file
    :ivar exceptions: who may nevertheless
    :ivar lists: by slot, the processes to whom, and the objects for which something is denied only
    :raises UnsupportedFeature: they cannot be had here, for the reason given
    """

    def __init__(self, shared: Mapping[str, Map]) -> None:
        modules = active_modules()
        if modules is not None and "bpf" not in modules:
            active, wanted = ",".join(modules), ",".join([*modules, "bpf"])
            raise UnsupportedFeature(f"security module bpf is not active, only {active}; boot with lsm={wanted}")
        reasons = []
        for way in WAYS:
            try:
                self._object = _load(way, shared)
                self.way = way
                break
            except FileNotFoundError:
                reasons.append(f"{way}: this package was built without it (clang was missing)")
            except FastpathError as exc:
                reasons.append(f"{way}: {str(exc).splitlines()[0]}")
        else:
            raise UnsupportedFeature(f"nothing can be denied in the kernel: {'; '.join(reasons)}")
        self.exceptions = self._object.map("exceptions").open()
        self.lists = {flag: self._object.map(name).open() for flag, name in LISTS.items()}
        self._links: dict[str, Link] = {}

    def set_operations(self, operations: int) -> None:
        """
        Have all hooks attached at which one of these operations is judged, and no others.

        :param operations: of ``enum fp_deny``
        :raises UnsupportedFeature: one that is needed cannot be attached; then nothing has changed
        """
        programs = {f"on_{hook}" for hook, judged in HOOKS.items() if judged & operations}
        programs.update(_ENDS if operations else ())
        new: dict[str, Link] = {}
        for program in sorted(programs - self._links.keys()):
            if not self._object.program(program).is_wanted:  # one of _NEWER
                continue
            try:
                new[program] = self._object.program(program).attach()
            except FastpathError as exc:
                for link in new.values():
                    link.close()
                said = str(exc).splitlines()[0]
                raise UnsupportedFeature(f"{_names(operations)} cannot be denied in the kernel: {said}") from exc
        self._links |= new
        for program in self._links.keys() - programs:
            self._links.pop(program).close()

    @property
    def attached(self) -> list[str]:
        """Names of the programs that are attached."""
        return sorted(self._links)

    def close(self) -> None:
        """Detach and unload."""
        for link in self._links.values():
            link.close()
        self._links.clear()
        for each in (self.exceptions, *self.lists.values()):
            each.close()
        self._object.close()


def _names(operations: int) -> str:
    return ", ".join(op.name.removeprefix("DENY_").lower() for op in Op if op & operations)


def _load(way: str, shared: Mapping[str, Map]) -> Object:
    data = resources.files("fanotify_fastpath._bpf").joinpath("objects", f"{way}.bpf.o").read_bytes()
    found = Object.open_bytes(data, "fanfp")
    try:
        LAYOUTS.require(found.layouts("fp_"), f"BPF object {way}")
        for each in found.maps():
            if each.name in shared:
                each.reuse(shared[each.name])
            elif each.name not in _OWN_MAPS:
                each.set_wanted(False)
        for hook in _NEWER:
            program = found.program(f"on_{hook}")
            try:
                program.set_attach_target(hook)
            except (KernelRefused, NotPermitted) as exc:
                if exc.errno not in (errno.ENOENT, errno.ESRCH):
                    raise
                program.set_wanted(False)
        found.load()
    except BaseException:
        found.close()
        raise
    return found
