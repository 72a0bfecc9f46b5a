"""
BPF objects, programs and links, by libbpf.

An :class:`Object` is opened, may be changed, and is loaded::

    with Object.open_file(path) as found:
        found.map("events").set_max_entries(1 << 20)
        found.load()
        with found.program("on_fsnotify").attach():
            ...

All calls let other threads run. Nothing here is pinned: what is closed, or whose process ends, is gone.
"""

import errno
import os
from collections.abc import Iterator
from typing import Any

from fanotify_fastpath._bpf._cdefs import Said, library, listening
from fanotify_fastpath._bpf.btf import read_layouts, read_variables
from fanotify_fastpath._bpf.layout import Field, Layouts
from fanotify_fastpath._bpf.maps import Map, MapType
from fanotify_fastpath._bpf.programs import Link, Owner, Program, ProgramInfo, RunResult, enable_stats, program_info
from fanotify_fastpath._bpf.refusal import refused
from fanotify_fastpath._closing import Closing
from fanotify_fastpath.errors import Closed, InvalidArgument, VerifierError

__all__ = [
    "Link",
    "Map",
    "MapType",
    "Object",
    "ObjectMap",
    "Program",
    "ProgramInfo",
    "RunResult",
    "enable_stats",
    "program_info",
    "version",
]


def version() -> str:
    """
    Version of the library, ``"v1.1"`` for example.

    :raises UnsupportedFeature: it is not installed
    """
    lib = library()
    return str(lib.ffi.string(lib.c.libbpf_version_string()).decode())


class ObjectMap:
    """
    One map of an object.

    :ivar name: name of its variable; of those with global variables, of the section: ``".rodata"``
    """

    def __init__(self, owner: Owner, pointer: Any) -> None:
        lib = library()
        self._owner = owner
        self._pointer = pointer
        name = os.fsdecode(lib.ffi.string(lib.c.bpf_map__name(pointer)))
        self.name = "." + name.partition(".")[2] if "." in name else name

    @property
    def pointer(self) -> Any:
        """
        For calls of the library.

        :raises Closed: the object was closed
        """
        self._owner.check_open()
        return self._pointer

    @property
    def initial(self) -> bytes:
        """What global variables begin with, before the load."""
        lib = library()
        size = lib.ffi.new("size_t *")
        value = lib.c.bpf_map__initial_value(self.pointer, size)
        return b"" if value == lib.ffi.NULL else bytes(lib.ffi.buffer(value, size[0]))

    def set_initial(self, value: bytes) -> None:
        """
        Set what global variables begin with; for constants, what they are.

        :param value: as long as ``initial``
        :raises KernelRefused: another length, no such map, or loaded already
        """
        self._change(library().c.bpf_map__set_initial_value(self.pointer, value, len(value)))

    def set_max_entries(self, n: int) -> None:
        """
        Set the number of entries; of a ring buffer the size in bytes.

        :raises KernelRefused: the object is loaded already
        """
        self._change(library().c.bpf_map__set_max_entries(self.pointer, n))

    def reshape(self, map_type: MapType, key_size_bytes: int, value_size_bytes: int, max_entries: int) -> None:
        """
        Make it another map than the object says.

        :raises KernelRefused: the object is loaded already
        """
        lib = library()
        self._change(lib.c.bpf_map__set_type(self.pointer, map_type))
        self._change(lib.c.bpf_map__set_key_size(self.pointer, key_size_bytes))
        self._change(lib.c.bpf_map__set_value_size(self.pointer, value_size_bytes))
        self.set_max_entries(max_entries)

    def set_wanted(self, is_wanted: bool) -> None:
        """
        Say whether it is made with the load.

        :raises KernelRefused: the object is loaded already
        """
        self._change(library().c.bpf_map__set_autocreate(self.pointer, is_wanted))

    def set_inner(self, inner: Map) -> None:
        """
        Say what the inner maps of a map of maps are like.

        :raises KernelRefused: it is no map of maps, or loaded already
        """
        fd = os.dup(inner.fd)  # the library closes it
        result = library().c.bpf_map__set_inner_map_fd(self.pointer, fd)
        if result < 0:
            os.close(fd)
        self._change(result)

    def reuse(self, other: Map) -> None:
        """
        Take a map that exists instead of making one.

        :raises KernelRefused: the object is loaded already
        """
        self._change(library().c.bpf_map__reuse_fd(self.pointer, other.fd))

    def open(self) -> Map:
        """
        The map, after the load; it stays when the object is closed.

        :raises InvalidArgument: it was not made
        """
        fd = int(library().c.bpf_map__fd(self.pointer))
        if fd < 0:
            raise InvalidArgument(f"map {self.name!r} was not made; load the object first")
        return Map(os.dup(fd))

    def _change(self, result: int) -> None:
        self._owner.change(result, f"map {self.name!r}")


class Object(Closing):
    """
    An object file with programs and maps. Closing it unloads what nothing else holds.

    :ivar name: as the library calls it
    """

    def __init__(self, pointer: Any, name: str) -> None:
        self._pointer = pointer
        self.name = name
        lib = library()
        programs = [Program(self, each) for each in self._members(lib.c.bpf_object__next_program)]
        self._programs = {program.name: program for program in programs}
        maps = [ObjectMap(self, each) for each in self._members(lib.c.bpf_object__next_map)]
        self._maps = {one.name: one for one in maps}

    @classmethod
    def open_file(cls, path: str | os.PathLike[str]) -> "Object":
        """
        Read an object file.

        :raises OSError: it cannot be read
        :raises KernelRefused: it is no BPF object file
        """
        with open(path, "rb") as file:
            return cls.open_bytes(file.read(), os.path.basename(path).partition(".")[0])

    @classmethod
    def open_bytes(cls, data: bytes, name: str) -> "Object":
        """
        Take the content of an object file.

        :param name: for messages; also the beginning of the kernel's names of maps with global variables
        :raises KernelRefused: it is no BPF object file
        """
        lib = library()
        opts, name_bytes = lib.ffi.new("struct bpf_object_open_opts *"), lib.ffi.new("char[]", os.fsencode(name))
        opts.sz, opts.object_name = lib.ffi.sizeof(opts[0]), name_bytes
        with listening() as said:
            pointer, code = lib.c.bpf_object__open_mem(data, len(data), opts), lib.ffi.errno
        if pointer == lib.ffi.NULL:
            raise refused(f"cannot read BPF object {name!r}", code, said.lines)
        return cls(pointer, name)

    def program(self, name: str) -> Program:
        """
        Find a program by the name of its function.

        :raises InvalidArgument: there is none
        """
        if name not in self._programs:
            known = ", ".join(self._programs)
            raise InvalidArgument(f"no program {name!r} in BPF object {self.name!r}; it has {known}")
        return self._programs[name]

    def programs(self) -> list[Program]:
        """All programs, in the order of the file."""
        return list(self._programs.values())

    def map(self, name: str) -> ObjectMap:
        """
        Find a map by the name of its variable, or ``".rodata"``, ``".bss"``, ``".data"``.

        :raises InvalidArgument: there is none
        """
        if name not in self._maps:
            known = ", ".join(self._maps)
            raise InvalidArgument(f"no map {name!r} in BPF object {self.name!r}; it has {known}")
        return self._maps[name]

    def maps(self) -> list[ObjectMap]:
        """All maps, in the order of the file."""
        return list(self._maps.values())

    def layouts(self, prefix: str) -> Layouts:
        """
        The structures and enumerations that the object's BTF knows.

        :param prefix: of their names
        :raises InvalidArgument: it has no BTF, or one has a member that cannot be described
        """
        return read_layouts(self._btf(), prefix)

    def variables(self, section: str) -> dict[str, Field]:
        """
        Where the global variables of a section lie.

        :param section: its whole name
        :raises InvalidArgument: the object has no BTF
        """
        return read_variables(self._btf(), section)

    def load(self) -> None:
        """
        Make the maps and load the programs that are wanted.

        :raises VerifierError: the verifier does not accept a program
        :raises NotPermitted: a capability is missing, or the kernel does not allow this type of program
        :raises KernelRefused: the kernel refuses
        """
        self.check_open()
        with listening() as said:
            result = library().c.bpf_object__load(self._pointer)
        if result == 0:
            return
        if said.log and -result not in (errno.EPERM, errno.ENOMEM):
            raise VerifierError(_refused_program(said), said.log, -result)
        raise refused(f"cannot load BPF object {self.name!r}", -result, said.lines)

    def close(self) -> None:
        """Close it; its programs and maps cannot be used any more."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            library().c.bpf_object__close(pointer)

    def check_open(self) -> None:
        """
        For its programs and maps.

        :raises Closed: it was closed
        """
        if self._pointer is None:
            raise Closed(f"BPF object {self.name!r} is closed")

    def change(self, result: int, what: str, said: Said | None = None) -> None:
        """
        Look at the result of changing *what*.

        :raises KernelRefused: it is an error
        """
        if result < 0:
            raise refused(f"cannot change {what} of BPF object {self.name!r}", -result, said.lines if said else None)

    def _btf(self) -> Any:
        self.check_open()
        btf = library().c.bpf_object__btf(self._pointer)
        if btf == library().ffi.NULL:
            raise InvalidArgument(f"BPF object {self.name!r} has no BTF; compile it with -g")
        return btf

    def _members(self, following: Any) -> Iterator[Any]:
        null = library().ffi.NULL
        pointer = following(self._pointer, null)
        while pointer != null:
            yield pointer
            pointer = following(self._pointer, pointer)


def _refused_program(said: Said) -> str:
    """The name in "prog 'NAME': BPF program load failed: ..."."""
    for line in said.lines:
        if line.startswith("prog '") and "load failed" in line:
            return line.split("'")[1]
    return "?"
