"""PRE_ACCESS: asked before content is touched, with the range, answered with an error number (LTP fanotify24)."""

import ctypes
import errno
import mmap
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import InitFlag, Mask, RangeInfo
from fanotify_fastpath.verdict import DENY_ERRNOS
from mounting import Filesystems
from outcomes import errno_of

from .answering import ALLOW, Answer, Answering
from .support import ADD, FILESYSTEM, KINDS, MOUNT, Seen, execute, listen, mark_or_skip, new_file

PAGE = mmap.PAGESIZE
SIZE = 5 * PAGE - 100
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
MAP_FAILED = ctypes.c_void_p(-1).value


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def path(request: pytest.FixtureRequest, filesystems: Filesystems) -> Path:
    return new_file(filesystems.new(request.param), content=b"x" * SIZE)


def with_file(flags: int, function: Callable[[int], object]) -> Callable[[Path], None]:
    def operation(path: Path) -> None:
        fd = os.open(path, flags)
        try:
            function(fd)
        finally:
            os.close(fd)

    return operation


def send(fd: int) -> None:
    null = os.open("/dev/null", os.O_WRONLY)
    try:
        os.sendfile(null, fd, 2 * PAGE, 10)
    finally:
        os.close(null)


def map_page(fd: int) -> None:
    """Map the second page. By ctypes, for Python's own mmap keeps the interpreter lock, and nobody could answer."""
    address = _libc.mmap(None, PAGE, mmap.PROT_READ, mmap.MAP_SHARED, fd, PAGE)
    if address == MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    _libc.munmap(address, PAGE)


OPERATIONS = {
    "read": (with_file(os.O_RDONLY, lambda fd: os.pread(fd, 100, PAGE + 500)), PAGE, PAGE),
    "read across pages": (with_file(os.O_RDONLY, lambda fd: os.pread(fd, PAGE, PAGE + 500)), PAGE, 2 * PAGE),
    "write": (with_file(os.O_RDWR, lambda fd: os.pwrite(fd, b"y" * PAGE, PAGE - 1)), 0, 2 * PAGE),
    "mmap": (with_file(os.O_RDONLY, map_page), PAGE, PAGE),
    "truncate": (lambda path: os.truncate(path, SIZE - 1), 4 * PAGE, PAGE),
    "ftruncate": (with_file(os.O_RDWR, lambda fd: os.ftruncate(fd, SIZE - 1)), 4 * PAGE, PAGE),
    "fallocate": (with_file(os.O_RDWR, lambda fd: os.posix_fallocate(fd, PAGE, PAGE)), PAGE, PAGE),
    "sendfile": (with_file(os.O_RDONLY, send), 2 * PAGE, PAGE),
}


@pytest.mark.parametrize(("operation", "offset", "count"), OPERATIONS.values(), ids=OPERATIONS.keys())
def test_each_operation_asks_once_for_the_pages_it_touches(
    path: Path, operation: Callable[[Path], None], offset: int, count: int
) -> None:
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS, path)
        with Answering(group) as answering:
            operation(path)
        assert [(event.mask, event.record.range) for event in answering.seen] == [
            (Mask.PRE_ACCESS, RangeInfo(offset, count))
        ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_denied_operation_fails_and_leaves_the_file_as_it_was(path: Path, kind: int, name: str) -> None:
    operation = OPERATIONS[name][0]
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD | kind, Mask.PRE_ACCESS, path)
        with Answering(group, lambda _: Answer(False, errno.EIO)) as answering:
            assert errno_of(operation, path) == "EIO"
        assert answering.seen
    assert path.read_bytes() == b"x" * SIZE


@pytest.mark.parametrize("code", sorted(DENY_ERRNOS))
def test_a_denial_returns_the_error_number_of_the_answer(ext4: Path, code: int) -> None:
    path = new_file(ext4)

    def decide(event: Seen) -> Answer:
        return Answer(False, code) if event.mask & Mask.PRE_ACCESS else ALLOW

    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS | Mask.OPEN_PERM, path)
        with Answering(group, decide):
            # not by a Python file, whose read takes EAGAIN for the end of what is there
            read = OPERATIONS["read"][0]
            assert errno_of(read, path) == errno.errorcode[code]


@pytest.mark.parametrize("code", [errno.EIO, errno.EBUSY])
def test_an_open_in_a_pre_content_group_is_denied_with_an_error_number_too(ext4: Path, code: int) -> None:
    path = new_file(ext4)
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS | Mask.OPEN_PERM, path)
        with Answering(group, lambda _: Answer(False, code)):
            assert errno_of(path.read_bytes) == errno.errorcode[code]


@pytest.mark.parametrize(
    ("group_class", "code"),
    [
        (InitFlag.CLASS_CONTENT, errno.EIO),
        (InitFlag.CLASS_PRE_CONTENT, errno.ENOENT),
        (InitFlag.CLASS_PRE_CONTENT, errno.EACCES),
        (InitFlag.CLASS_PRE_CONTENT, 255),
    ],
)
def test_other_error_numbers_and_other_classes_are_refused_and_can_be_answered_again(
    ext4: Path, group_class: InitFlag, code: int
) -> None:
    path = new_file(ext4)
    refused: list[str] = []

    def decide(event: Seen) -> Answer:
        refused.append(errno_of(group.respond, event.record, False, errno=code))
        return ALLOW

    with listen(group_class) as group:
        group.mark(ADD, Mask.OPEN_PERM, path)
        with Answering(group, decide):
            assert path.read_bytes() == b"content"
    assert refused == ["EINVAL"]


def test_an_execution_asks_before_the_program_is_read_and_mapped(ext4: Path) -> None:
    program = Path(shutil.copy("/bin/true", ext4 / "program"))
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS | Mask.EVENT_ON_CHILD, ext4)
        with Answering(group) as answering:
            assert execute(program) == 0
        ranges = [event.record.range for event in answering.seen]
        assert None not in ranges
        assert RangeInfo(0, PAGE) in ranges
        with Answering(group, lambda _: Answer(False)):
            assert execute(program) == -errno.EPERM


def test_a_file_that_nobody_watched_when_it_was_opened_is_not_asked_about(ext4: Path) -> None:
    watched, other = new_file(ext4, "watched"), new_file(ext4, "other")
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS, watched)
        with other.open("rb", buffering=0) as early:
            group.mark(ADD, Mask.PRE_ACCESS, other)
            with other.open("rb", buffering=0) as late, Answering(group, lambda _: Answer(False)):
                assert early.read(1) == b"c"
                assert errno_of(late.read, 1) == "EPERM"


@pytest.mark.parametrize("kind", ["tmpfs", "overlayfs-plain"])
def test_filesystems_without_support_refuse_the_mark(filesystems: Filesystems, ext4: Path, kind: str) -> None:
    path = new_file(filesystems.new(kind))
    with listen(InitFlag.CLASS_PRE_CONTENT) as group:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS, new_file(ext4))
        for flags in (0, MOUNT, FILESYSTEM):
            assert errno_of(group.mark, ADD | flags, Mask.PRE_ACCESS, path) == "EOPNOTSUPP"


def test_directories_and_other_classes_are_refused(ext4: Path) -> None:
    with listen(InitFlag.CLASS_PRE_CONTENT) as group, listen(InitFlag.CLASS_CONTENT) as content:
        mark_or_skip(group, ADD, Mask.PRE_ACCESS, ext4)
        assert errno_of(group.mark, ADD, Mask.PRE_ACCESS | Mask.ONDIR, ext4) == "EINVAL"
        assert errno_of(content.mark, ADD, Mask.PRE_ACCESS, ext4) == "EINVAL"
