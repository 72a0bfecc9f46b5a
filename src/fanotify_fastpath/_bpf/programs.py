"""BPF programs of an object, what they are attached by, and what the kernel tells about them."""

import os
from dataclasses import dataclass
from typing import Any, Protocol

from fanotify_fastpath._bpf._cdefs import Said, library, listening
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._bpf.refusal import refused
from fanotify_fastpath._closing import Closing
from fanotify_fastpath.errors import Closed, InvalidArgument

_STATS_RUN_TIME = 0
_RUN_ON_CPU = 1


class Owner(Protocol):
    """What programs and maps need of their object."""

    def check_open(self) -> None:
        """
        For its programs and maps.

        :raises Closed: it was closed
        """

    def change(self, result: int, what: str, said: Said | None = None) -> None:
        """
        Look at the result of changing *what*.

        :raises KernelRefused: it is an error
        """


@dataclass(frozen=True, slots=True)
class RunResult:
    """
    What a program run on demand gave.

    :ivar value: what the program returned, without sign
    :ivar duration_ns: mean time of one run, for the types that the kernel measures; else 0
    """

    value: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """
    What the kernel tells of a loaded program.

    :ivar program_id: the kernel's number of it
    :ivar name: as the kernel keeps it, 15 bytes
    :ivar n_runs: since it was loaded; counted only while :func:`enable_stats` is on
    :ivar run_time_ns: of these runs together
    :ivar n_recursion_misses: runs that the guard against recursion left out; always counted
    :ivar n_verified_insns: instructions that the verifier went through
    """

    program_id: int
    name: str
    n_runs: int
    run_time_ns: int
    n_recursion_misses: int
    n_verified_insns: int


def program_info(fd: int) -> ProgramInfo:
    """
    Ask the kernel about a program.

    :param fd: descriptor of a loaded program
    :raises KernelRefused: it is not a program's
    """
    lib = library()
    info, size = lib.ffi.new("struct bpf_prog_info *"), lib.ffi.new("uint32_t *")
    size[0] = lib.ffi.sizeof("struct bpf_prog_info")
    result = lib.c.bpf_obj_get_info_by_fd(fd, info, size)
    if result < 0:
        raise refused(f"cannot learn about program with descriptor {fd}", -result)
    return ProgramInfo(
        int(info.id),
        os.fsdecode(lib.ffi.string(info.name)),
        int(info.run_cnt),
        int(info.run_time_ns),
        int(info.recursion_misses),
        int(info.verified_insns),
    )


def enable_stats() -> int:
    """
    Let the kernel count the runs of all programs and their time, until the descriptor returned is closed.

    :raises NotPermitted: CAP_SYS_ADMIN is missing
    """
    fd = int(library().c.bpf_enable_stats(_STATS_RUN_TIME))
    if fd < 0:
        raise refused("cannot have the runs of programs counted", -fd)
    return fd


class Link(Closing):
    """A program that is attached, until this is closed or the process ends."""

    def __init__(self, pointer: Any, program: str) -> None:
        self._pointer = pointer
        self._program = program

    @property
    def fd(self) -> int:
        """
        Descriptor of the link, or of the event that stands for it.

        :raises Closed: it was closed
        """
        return int(library().c.bpf_link__fd(self._open()))

    def create_iterator(self) -> int:
        """
        Make a descriptor that reads what an iterator program writes, once from its beginning.

        :raises KernelRefused: the program is no iterator
        """
        fd = int(library().c.bpf_iter_create(self.fd))
        if fd < 0:
            raise refused(f"cannot read from iterator {self._program!r}", -fd)
        return fd

    def pin(self, path: bytes) -> None:
        """
        Give it a name on a bpf filesystem: it stays attached until that is removed.

        :raises NotPermitted: a capability is missing, or the name has a dot
        :raises KernelRefused: there is no bpf filesystem, or the name is taken
        """
        result = int(library().c.bpf_obj_pin(self.fd, path))
        if result < 0:
            raise refused(f"cannot pin {self._program!r} as {os.fsdecode(path)!r}", -result)

    def close(self) -> None:
        """Detach."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            library().c.bpf_link__destroy(pointer)

    def _open(self) -> Any:
        if self._pointer is None:
            raise Closed(f"link of {self._program!r} is closed")
        return self._pointer


class Program:
    """
    One program of an object.

    :ivar name: name of its function
    :ivar section: of the object file; it says what the program is attached to
    """

    def __init__(self, owner: Owner, pointer: Any) -> None:
        lib = library()
        self._owner = owner
        self._pointer = pointer
        self.name = os.fsdecode(lib.ffi.string(lib.c.bpf_program__name(pointer)))
        self.section = os.fsdecode(lib.ffi.string(lib.c.bpf_program__section_name(pointer)))

    @property
    def pointer(self) -> Any:
        """
        For calls of the library.

        :raises Closed: the object was closed
        """
        self._owner.check_open()
        return self._pointer

    @property
    def fd(self) -> int:
        """
        Descriptor; owned by the object.

        :raises InvalidArgument: it is not loaded
        """
        fd = int(library().c.bpf_program__fd(self.pointer))
        if fd < 0:
            raise InvalidArgument(f"program {self.name!r} is not loaded")
        return fd

    @property
    def is_wanted(self) -> bool:
        """Whether it is loaded with its object."""
        return bool(library().c.bpf_program__autoload(self.pointer))

    def set_wanted(self, is_wanted: bool) -> None:
        """
        Say whether it is loaded with its object.

        :raises KernelRefused: the object is loaded already
        """
        self._owner.change(library().c.bpf_program__set_autoload(self.pointer, is_wanted), f"program {self.name!r}")

    def set_attach_target(self, function: str) -> None:
        """
        Say which function of the kernel it is for, instead of its section.

        :raises KernelRefused: no such function, or the object is loaded already
        """
        with listening() as said:
            result = library().c.bpf_program__set_attach_target(self.pointer, 0, function.encode())
        self._owner.change(result, f"target {function!r} of program {self.name!r}", said)

    def attach(self) -> Link:
        """
        Attach to what its section says.

        :raises NotPermitted: a capability is missing, or the kernel does not allow it
        :raises KernelRefused: the kernel refuses
        """
        lib = library()
        with listening() as said:
            pointer, code = lib.c.bpf_program__attach(self.pointer), lib.ffi.errno
        return self._link(pointer, code, said)

    def attach_iterator(self, over: Map | None = None, *, tgid: int = 0) -> Link:
        """
        Attach an iterator program.

        :param over: the map that it goes through, if it is for maps
        :param tgid: the process that it is about, if it is for tasks; 0: all (else since Linux 6.1)
        :raises KernelRefused: the kernel refuses
        """
        lib = library()
        info, opts = lib.ffi.new("union bpf_iter_of *"), lib.ffi.new("struct bpf_iter_attach_opts *")
        opts.sz = lib.ffi.sizeof(opts[0])
        if over is not None:
            info.map.map_fd = over.fd
        info.task.pid = tgid or info.task.pid
        if over is not None or tgid:
            opts.link_info, opts.link_info_len = info, lib.ffi.sizeof(info[0])
        with listening() as said:
            pointer, code = lib.c.bpf_program__attach_iter(self.pointer, opts), lib.ffi.errno
        return self._link(pointer, code, said)

    def run(self, context: bytes = b"", *, cpu: int | None = None) -> RunResult:
        """
        Run it once, now.

        :param context: its argument, for types that have one: for a raw tracepoint up to twelve numbers of 8 bytes
        :param cpu: for raw tracepoints, where; None: here
        :raises KernelRefused: the kernel refuses, or cannot run programs of this type
        """
        lib = library()
        opts = lib.ffi.new("struct bpf_test_run_opts *")
        opts.sz, held = lib.ffi.sizeof(opts[0]), lib.ffi.from_buffer(context)
        if context:
            opts.ctx_in, opts.ctx_size_in = held, len(context)
        if cpu is not None:
            opts.flags, opts.cpu = _RUN_ON_CPU, cpu
        result = lib.c.bpf_prog_test_run_opts(self.fd, opts)
        if result < 0:
            raise refused(f"cannot run program {self.name!r}", -result)
        return RunResult(int(opts.retval), int(opts.duration))

    def info(self) -> ProgramInfo:
        """
        Ask the kernel about it.

        :raises InvalidArgument: it is not loaded
        """
        return program_info(self.fd)

    def _link(self, pointer: Any, code: int, said: Said) -> Link:
        if pointer == library().ffi.NULL:
            raise refused(f"cannot attach program {self.name!r} ({self.section})", code, said.lines)
        return Link(pointer, self.name)
