"""BPF maps: tables that programs in the kernel and user space share."""

import errno
import os
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from fanotify_fastpath._bpf._cdefs import library
from fanotify_fastpath._bpf.refusal import refused
from fanotify_fastpath._closing import Closing
from fanotify_fastpath.errors import Closed, InvalidArgument

#: flags of an update
ANY, NOEXIST, EXIST = 0, 1, 2


class MapType(IntEnum):
    """
    The types of map that are used here.

    :source: enum bpf_map_type, include/uapi/linux/bpf.h (v6.12)
    """

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    RINGBUF = 27
    INODE_STORAGE = 28


_PER_CPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)


class Map(Closing):
    """
    A map, known by a file descriptor.

    :ivar name: up to 15 bytes
    :ivar map_id: the kernel's number of it
    :ivar map_type: a number of :class:`MapType`, or another one
    :ivar key_size_bytes: 0 for ring buffers
    :ivar value_size_bytes: of one value; 0 for ring buffers
    :ivar max_entries: number of entries; of a ring buffer the size in bytes
    """

    def __init__(self, fd: int, *, is_owner: bool = True) -> None:
        """
        Take a descriptor of a map.

        :param fd: it is closed with this object, if that owns it
        :raises KernelRefused: it is not a map's
        """
        lib = library()
        info, size = lib.ffi.new("struct bpf_map_info *"), lib.ffi.new("uint32_t *")
        size[0] = lib.ffi.sizeof("struct bpf_map_info")
        result = lib.c.bpf_obj_get_info_by_fd(fd, info, size)
        if result < 0:
            raise refused(f"cannot learn about map with descriptor {fd}", -result)
        self.name = os.fsdecode(lib.ffi.string(info.name))
        self.map_type = int(info.type)
        self.key_size_bytes = int(info.key_size)
        self.value_size_bytes = int(info.value_size)
        self.max_entries = int(info.max_entries)
        self.map_id = int(info.id)
        self._fd: int | None = fd
        self._is_owner = is_owner

    @classmethod
    def create(
        cls,
        map_type: MapType,
        name: str,
        key_size_bytes: int = 0,
        value_size_bytes: int = 0,
        max_entries: int = 1,
        *,
        flags: int = 0,
        inner: "Map | None" = None,
    ) -> "Map":
        """
        Make a map.

        :param name: the kernel keeps 15 bytes
        :param max_entries: of a ring buffer the size in bytes, a power of 2 and a multiple of the page size
        :param inner: for a map of maps, one that is like those to come
        :raises NotPermitted: CAP_BPF is missing
        :raises KernelRefused: the kernel refuses
        """
        lib = library()
        opts = lib.ffi.new("struct bpf_map_create_opts *")
        opts.sz, opts.map_flags = lib.ffi.sizeof(opts[0]), flags
        opts.inner_map_fd = 0 if inner is None else inner.fd
        fd = lib.c.bpf_map_create(map_type, os.fsencode(name)[:15], key_size_bytes, value_size_bytes, max_entries, opts)
        if fd < 0:
            raise refused(f"cannot make map {name!r} ({map_type.name}, {max_entries} entries)", -fd)
        return cls(fd)

    @classmethod
    def by_id(cls, map_id: int) -> "Map":
        """
        Open a map by the kernel's number.

        :raises NotPermitted: CAP_SYS_ADMIN is missing
        :raises KernelRefused: there is none
        """
        fd = int(library().c.bpf_map_get_fd_by_id(map_id))
        if fd < 0:
            raise refused(f"cannot open map number {map_id}", -fd)
        return cls(fd)

    @property
    def fd(self) -> int:
        """
        The file descriptor.

        :raises Closed: the map was closed
        """
        if self._fd is None:
            raise Closed(f"map {self.name!r} is closed")
        return self._fd

    def close(self) -> None:
        """Close the descriptor, if this object owns it. The map lives as long as a program or descriptor has it."""
        fd, self._fd = self._fd, None
        if fd is not None and self._is_owner:
            os.close(fd)

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """
        Set a value.

        :param value: for a map of maps, the descriptor of the inner map as 4 bytes in the machine's order; for per-CPU
            maps one value for each possible CPU, each padded to a multiple of 8 bytes
        :param flags: ``NOEXIST``: there must be none yet; ``EXIST``: there must be one
        :raises InvalidArgument: key or value has the wrong length
        :raises KernelRefused: the kernel refuses: E2BIG the map is full, EEXIST and ENOENT by *flags*
        """
        self._check(key, self.key_size_bytes, "key")
        self._check(value, self._value_length_bytes(), "value")
        result = library().c.bpf_map_update_elem(self.fd, key, value, flags)
        if result < 0:
            raise refused(f"cannot set an entry of map {self.name!r}", -result)

    def lookup(self, key: bytes) -> bytes | None:
        """
        Get a value, None when there is none.

        :return: of a per-CPU map, the values of all possible CPUs, each padded to a multiple of 8 bytes
        :raises InvalidArgument: the key has the wrong length
        :raises KernelRefused: the kernel refuses
        """
        self._check(key, self.key_size_bytes, "key")
        lib = library()
        value = lib.ffi.new("char[]", self._value_length_bytes())
        result = lib.c.bpf_map_lookup_elem(self.fd, key, value)
        if result == -errno.ENOENT:
            return None
        if result < 0:
            raise refused(f"cannot look up an entry of map {self.name!r}", -result)
        return bytes(lib.ffi.buffer(value))

    def lookup_per_cpu(self, key: bytes) -> list[bytes]:
        """
        Get the values of all possible CPUs; none when there is no entry.

        :raises InvalidArgument: the key has the wrong length
        :raises KernelRefused: the kernel refuses
        """
        value, step = self.lookup(key) or b"", _padded(self.value_size_bytes)
        return [value[at : at + self.value_size_bytes] for at in range(0, len(value), step)]

    def delete(self, key: bytes) -> bool:
        """
        Remove an entry.

        :return: whether there was one
        :raises InvalidArgument: the key has the wrong length
        :raises KernelRefused: the kernel refuses
        """
        self._check(key, self.key_size_bytes, "key")
        result = library().c.bpf_map_delete_elem(self.fd, key)
        if result < 0 and result != -errno.ENOENT:
            raise refused(f"cannot remove an entry of map {self.name!r}", -result)
        return bool(result == 0)

    def keys(self) -> Iterator[bytes]:
        """
        Go through the keys. What changes meanwhile may be met or not, and a key may come twice.

        :raises KernelRefused: the kernel refuses
        """
        lib = library()
        key: Any = lib.ffi.NULL
        while True:
            following = lib.ffi.new("char[]", self.key_size_bytes)
            result = lib.c.bpf_map_get_next_key(self.fd, key, following)
            if result == -errno.ENOENT:
                return
            if result < 0:
                raise refused(f"cannot go through map {self.name!r}", -result)
            yield bytes(lib.ffi.buffer(following))
            key = following

    def _value_length_bytes(self) -> int:
        if self.map_type not in _PER_CPU:
            return self.value_size_bytes
        return int(_padded(self.value_size_bytes) * library().c.libbpf_num_possible_cpus())

    def _check(self, value: bytes, size: int, what: str) -> None:
        if len(value) != size:
            raise InvalidArgument(f"{what} of {len(value)} bytes for map {self.name!r}, whose {what}s have {size}")


def _padded(size: int) -> int:
    return -(-size // 8) * 8
