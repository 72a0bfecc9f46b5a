"""
What a read from a group returns: events, each with a header and a list of information records.

Two layers: :func:`walk` finds the boundaries and copies nothing, for hot paths; :func:`decode` makes typed objects.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from fanotify_fastpath._uapi.constants import HANDLE_HEADER_BYTES, METADATA_LEN, METADATA_VERSION, NOFD, InfoType
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.mask import Mask

#: struct fanotify_event_metadata: event_len, vers, reserved, metadata_len, mask, fd, pid
METADATA = struct.Struct("=IBBHQii")
#: struct fanotify_event_info_header: info_type, pad, len
INFO_HEADER = struct.Struct("=BBH")
FSID_BYTES = 8
_U32 = struct.Struct("=I")

Span = tuple[int, int, int]


class MalformedRecord(InvalidArgument):
    """
    Bytes that are no fanotify record.

    :ivar offset: where in the buffer the record begins
    """

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"malformed fanotify record at byte {offset}: {what}")
        self.offset = offset


def walk(buffer: bytes) -> Iterator[tuple[int, int, int, list[Span]]]:
    """
    Walk over the events in *buffer* in order, without interpreting them.

    :param buffer: what one read from a group returned
    :return: ``(mask, fd, pid, infos)`` of each event; *infos* are ``(info_type, start, end)``, where *start* and *end*
        are offsets in *buffer* of the payload after the record's 4-byte header
    :raises MalformedRecord: a length or version is wrong; events before it were given
    :source: fs/notify/fanotify/fanotify_user.c, copy_event_to_user (v6.12)
    """
    total = len(buffer)
    offset = 0
    unpack_metadata, unpack_info = METADATA.unpack_from, INFO_HEADER.unpack_from
    while offset < total:
        if total - offset < METADATA_LEN:
            raise MalformedRecord(f"{total - offset} bytes left, an event has at least {METADATA_LEN}", offset)
        event_len, version, _, metadata_len, mask, fd, pid = unpack_metadata(buffer, offset)
        if version != METADATA_VERSION:
            raise MalformedRecord(f"version {version}, not {METADATA_VERSION}", offset)
        end = offset + event_len
        # metadata_len may grow in later kernels: what is added there is skipped.
        if end > total or not METADATA_LEN <= metadata_len <= event_len:
            raise MalformedRecord(
                f"event of {event_len} bytes, header of {metadata_len}, {total - offset} left", offset
            )
        infos = []
        at = offset + metadata_len
        while at < end:
            if end - at < 4:
                raise MalformedRecord(f"{end - at} stray bytes after the last information record", at)
            info_type, _, info_len = unpack_info(buffer, at)
            if info_len < 4 or at + info_len > end:
                raise MalformedRecord(f"information record of {info_len} bytes, {end - at} left", at)
            infos.append((info_type, at + 4, at + info_len))
            at += info_len
        yield mask, fd, pid, infos
        offset = end


@dataclass(frozen=True, slots=True)
class HandleInfo:
    """
    An object of a filesystem, by its file handle.

    :ivar info_type: which object of the event this is (:class:`~fanotify_fastpath._uapi.constants.InfoType`)
    :ivar fsid: 8 bytes, as ``statfs(2)`` gives them in ``f_fsid``
    :ivar handle: a whole ``struct file_handle``, as ``open_by_handle_at(2)`` takes it; its ``handle_bytes`` is 0 when
        the event has no object (errors of a whole filesystem)
    :ivar name: name of the entry inside the directory *handle*, or None; ``b"."`` is the directory itself
    """

    info_type: int
    fsid: bytes
    handle: bytes
    name: bytes | None = None


class FidInfo(HandleInfo):
    """The object itself."""

    __slots__ = ()


class DfidInfo(HandleInfo):
    """The directory of the object, or the directory that is the object."""

    __slots__ = ()


class DfidNameInfo(HandleInfo):
    """A directory and a name in it; for a rename the old or the new place, as *info_type* tells."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PidfdInfo:
    """
    The process that did it.

    :ivar pidfd: a descriptor that the reader owns and must close; when negative, ``NOPIDFD`` (the process had ended)
        or ``EPIDFD``, and in groups with ``REPORT_FD_ERROR`` minus an error number
    """

    pidfd: int


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """
    An error of a filesystem.

    :ivar error: error number of the first error
    :ivar error_count: number of errors since the listener last read, the first included
    """

    error: int
    error_count: int


@dataclass(frozen=True, slots=True)
class RangeInfo:
    """
    The part of the file that is about to be accessed.

    :ivar offset: in bytes
    :ivar count: in bytes
    """

    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class MntInfo:
    """
    A mount that was attached or detached.

    :ivar mnt_id: unique id of the mount (``STATX_MNT_ID_UNIQUE``), not the id in mountinfo
    """

    mnt_id: int


@dataclass(frozen=True, slots=True)
class UnknownInfo:
    """
    A record of a kind that this version does not know.

    :ivar info_type: its kind
    :ivar payload: its bytes, without the 4-byte header
    """

    info_type: int
    payload: bytes


Info = FidInfo | DfidInfo | DfidNameInfo | PidfdInfo | ErrorInfo | RangeInfo | MntInfo | UnknownInfo
_Kind = TypeVar("_Kind", FidInfo, DfidInfo, DfidNameInfo, PidfdInfo, ErrorInfo, RangeInfo, MntInfo)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """
    One event as the kernel reports it.

    The reader owns the descriptors in it (``fd`` and ``pidfd``) and must close them.

    :ivar mask: what happened
    :ivar fd: descriptor of the object; when negative ``NOFD``, and in groups with ``REPORT_FD_ERROR`` minus an error
        number
    :ivar pid: process id, or thread id in groups with ``REPORT_TID``; 0 when the listener may not know
    :ivar infos: information records in the kernel's order
    """

    mask: Mask
    fd: int
    pid: int
    infos: tuple[Info, ...] = ()

    def _first(self, kind: type[_Kind], info_type: int | None = None) -> _Kind | None:
        for info in self.infos:
            if isinstance(info, kind) and info_type in (None, getattr(info, "info_type", None)):
                return info
        return None

    @property
    def fid(self) -> FidInfo | None:
        """The object, in groups with ``REPORT_FID``."""
        return self._first(FidInfo)

    @property
    def dfid(self) -> DfidInfo | None:
        """The directory, when it is reported without a name."""
        return self._first(DfidInfo)

    @property
    def dfid_name(self) -> DfidNameInfo | None:
        """The directory and the name in it, in groups with ``REPORT_NAME``."""
        return self._first(DfidNameInfo, InfoType.DFID_NAME)

    @property
    def old_dfid_name(self) -> DfidNameInfo | None:
        """For ``RENAME``, the place before it, if that is watched."""
        return self._first(DfidNameInfo, InfoType.OLD_DFID_NAME)

    @property
    def new_dfid_name(self) -> DfidNameInfo | None:
        """For ``RENAME``, the place after it, if that is watched."""
        return self._first(DfidNameInfo, InfoType.NEW_DFID_NAME)

    @property
    def pidfd(self) -> int | None:
        """The pidfd, or its negative stand-in (:class:`PidfdInfo`); None without ``REPORT_PIDFD``."""
        info = self._first(PidfdInfo)
        return None if info is None else info.pidfd

    @property
    def error(self) -> ErrorInfo | None:
        """For ``FS_ERROR``, the error."""
        return self._first(ErrorInfo)

    @property
    def range(self) -> RangeInfo | None:
        """For ``PRE_ACCESS``, the part of the file."""
        return self._first(RangeInfo)

    @property
    def mnt(self) -> int | None:
        """For ``MNT_ATTACH`` and ``MNT_DETACH``, the unique id of the mount."""
        info = self._first(MntInfo)
        return None if info is None else info.mnt_id

    @property
    def fd_error(self) -> int | None:
        """
        Why there is no ``fd``: an error number, or None.

        Groups with ``REPORT_FD_ERROR`` have it; ``EBADF`` means that the event has no object to open. ``EPERM`` reads
        as None, for it is the same number as ``NOFD``, which is all that other groups report.
        """
        return -self.fd if self.fd < NOFD else None


_HandleKind = type[FidInfo] | type[DfidInfo] | type[DfidNameInfo]


def _decode_handle(kind: _HandleKind, buffer: bytes, info_type: int, start: int, end: int) -> Info:
    fixed = start + FSID_BYTES + HANDLE_HEADER_BYTES
    if fixed > end:
        raise MalformedRecord(f"{end - start} bytes are too few for a file handle", start)
    handle_end = fixed + _U32.unpack_from(buffer, start + FSID_BYTES)[0]
    if handle_end > end:
        raise MalformedRecord(f"file handle of {handle_end - fixed} bytes, {end - fixed} left", start)
    name = None
    if kind is DfidNameInfo:
        name_end = buffer.find(b"\0", handle_end, end)
        if name_end < 0:
            raise MalformedRecord("name without an end", handle_end)
        name = buffer[handle_end:name_end]
    return kind(info_type, buffer[start : start + FSID_BYTES], buffer[start + FSID_BYTES : handle_end], name)


_HANDLE_KINDS: dict[int, _HandleKind] = {
    InfoType.FID: FidInfo,
    InfoType.DFID: DfidInfo,
    InfoType.DFID_NAME: DfidNameInfo,
    InfoType.OLD_DFID_NAME: DfidNameInfo,
    InfoType.NEW_DFID_NAME: DfidNameInfo,
}
# The u64 of a range and of a mount id are aligned, so 4 bytes of padding follow the header.
_FIXED_KINDS: dict[int, tuple[struct.Struct, type[PidfdInfo] | type[ErrorInfo] | type[RangeInfo] | type[MntInfo]]] = {
    InfoType.PIDFD: (struct.Struct("=i"), PidfdInfo),
    InfoType.ERROR: (struct.Struct("=iI"), ErrorInfo),
    InfoType.RANGE: (struct.Struct("=4xQQ"), RangeInfo),
    InfoType.MNT: (struct.Struct("=4xQ"), MntInfo),
}


def _decode_info(buffer: bytes, info_type: int, start: int, end: int) -> Info:
    handle_kind = _HANDLE_KINDS.get(info_type)
    if handle_kind is not None:
        return _decode_handle(handle_kind, buffer, info_type, start, end)
    if info_type not in _FIXED_KINDS:
        return UnknownInfo(info_type, buffer[start:end])
    layout, kind = _FIXED_KINDS[info_type]
    # Longer than known is fine: later kernels append.
    if layout.size > end - start:
        raise MalformedRecord(f"{end - start} bytes are too few for record type {info_type}", start)
    return kind(*layout.unpack_from(buffer, start))


def decode(buffer: bytes) -> Iterator[EventRecord]:
    """
    Decode the events in *buffer* in order.

    :param buffer: what one read from a group returned
    :return: one record for each event
    :raises MalformedRecord: the bytes are no fanotify records; events before the bad one were given
    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """
    for mask, fd, pid, spans in walk(buffer):
        yield EventRecord(Mask(mask), fd, pid, tuple(_decode_info(buffer, *span) for span in spans))
