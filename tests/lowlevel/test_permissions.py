"""Permission events: allow and deny (LTP fanotify03)."""

import os
import shutil
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import NOFD, AuditRule, FanotifyFile, InitFlag, MarkFlag, Mask
from mounting import Mounter
from outcomes import errno_of

from .answering import ALLOW, DENY, Answer, Answering
from .support import ADD, KINDS, REMOVE, Seen, drain, execute, listen, new_file, touch

CLASSES = [
    pytest.param(InitFlag.CLASS_CONTENT, id="content"),
    pytest.param(InitFlag.CLASS_PRE_CONTENT, id="pre-content"),
]


@pytest.fixture
def program(ext4: Path) -> Path:
    return Path(shutil.copy("/bin/true", ext4 / "program"))


def permission_mark(group: FanotifyFile, kind: MarkFlag, mask: Mask, path: Path) -> None:
    """Mark the file for inode marks, else the mount or filesystem that the tests made for themselves."""
    assert os.stat(path).st_dev != os.stat("/").st_dev
    group.mark(ADD | kind, mask, path)


@pytest.mark.parametrize("group_class", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_allowed_operation_goes_on_after_its_permission_event(
    any_fs: Path, kind: MarkFlag, group_class: InitFlag
) -> None:
    path = new_file(any_fs)
    with listen(group_class) as group:
        permission_mark(group, kind, Mask.OPEN_PERM | Mask.ACCESS_PERM | Mask.OPEN | Mask.ACCESS, path)
        with Answering(group) as answering:
            assert path.read_bytes() == b"content"
            group.mark(REMOVE | kind, Mask.OPEN_PERM | Mask.ACCESS_PERM, path)
        seen = answering.masks() + [(event.mask, event.name) for event in drain(group)]
    types = [mask for mask, name in seen if name == "file"]
    assert types.index(Mask.OPEN_PERM) < types.index(Mask.ACCESS_PERM)
    assert Mask.OPEN in types or Mask.OPEN | Mask.ACCESS in types
    assert set(types) <= {Mask.OPEN_PERM, Mask.ACCESS_PERM, Mask.OPEN, Mask.ACCESS, Mask.OPEN | Mask.ACCESS}


@pytest.mark.parametrize("group_class", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_denied_open_fails_with_eperm_and_makes_no_open_event(
    any_fs: Path, kind: MarkFlag, group_class: InitFlag
) -> None:
    path = new_file(any_fs)
    with listen(group_class) as group:
        permission_mark(group, kind, Mask.OPEN_PERM | Mask.OPEN, path)
        with Answering(group, lambda _: DENY) as answering:
            assert errno_of(touch, path) == "EPERM"
        assert answering.masks() == [(Mask.OPEN_PERM, "file")]
        assert drain(group) == []
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("kind", KINDS)
def test_a_denied_read_fails_and_the_file_stays_open(any_fs: Path, kind: MarkFlag) -> None:
    path = new_file(any_fs)
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, kind, Mask.ACCESS_PERM, path)
        with path.open("rb", buffering=0) as file:
            with Answering(group, lambda _: DENY):
                assert errno_of(file.read, 10) == "EPERM"
            group.close()
            assert file.read(10) == b"content"


def test_a_file_opened_before_its_filesystem_had_a_permission_listener_is_never_asked_about(mounts: Mounter) -> None:
    # Since Linux 6.14 (the kernel that knows PRE_ACCESS) a file remembers at open that nobody asks.
    path = new_file(mounts.make("tmpfs"))
    with path.open("rb", buffering=0) as early, listen(InitFlag.CLASS_PRE_CONTENT) as group:
        remembers = errno_of(group.mark, ADD, Mask.PRE_ACCESS, path) != "EINVAL"
        permission_mark(group, MarkFlag.INODE, Mask.ACCESS_PERM, path)
        with path.open("rb", buffering=0) as late, Answering(group, lambda _: DENY):
            assert errno_of(early.read, 1) == ("ok" if remembers else "EPERM")
            assert errno_of(late.read, 1) == "EPERM"


@pytest.mark.parametrize("kind", KINDS)
def test_execution_is_denied_while_reading_is_allowed(program: Path, kind: MarkFlag) -> None:
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, kind, Mask.OPEN_EXEC_PERM | Mask.OPEN_PERM, program)
        with Answering(group, lambda event: DENY if event.mask & Mask.OPEN_EXEC_PERM else ALLOW) as answering:
            touch(program)
            assert answering.masks() == [(Mask.OPEN_PERM, "program")]
            assert execute(program) == -1
        # an execution asks twice, one event for each type, never merged
        assert [mask for mask, _ in answering.masks()[1:]] in (
            [Mask.OPEN_PERM, Mask.OPEN_EXEC_PERM],
            [Mask.OPEN_EXEC_PERM],
        )
    assert execute(program) == 0


def test_an_allowed_execution_runs(program: Path) -> None:
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, MarkFlag.INODE, Mask.OPEN_EXEC_PERM, program)
        with Answering(group) as answering:
            assert execute(program) == 0
        assert answering.masks() == [(Mask.OPEN_EXEC_PERM, "program")]


def test_permission_events_of_children_are_asked_through_the_directory(ext4: Path) -> None:
    new_file(ext4, "free")
    new_file(ext4, "locked")
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, MarkFlag.INODE, Mask.OPEN_PERM | Mask.EVENT_ON_CHILD, ext4)
        with Answering(group, lambda event: DENY if event.name == "locked" else ALLOW):
            touch(ext4 / "free")
            assert errno_of(touch, ext4 / "locked") == "EPERM"
            os.listdir(ext4)  # a directory, and no ONDIR


def test_an_ignore_mark_ends_the_questions_about_its_file(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, MarkFlag.FILESYSTEM, Mask.OPEN_PERM, path)

        def remember(event: Seen) -> Answer:
            group.mark(ADD | MarkFlag.IGNORE_SURV, Mask.OPEN_PERM, dir_fd=event.record.fd)
            return ALLOW

        with Answering(group, remember) as answering:
            for _ in range(5):
                touch(path)
        assert len(answering.seen) == 1


def test_the_listeners_own_descriptor_makes_no_events(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.CLASS_CONTENT) as group:
        permission_mark(group, MarkFlag.FILESYSTEM, Mask.OPEN_PERM | Mask.ACCESS_PERM | Mask.ACCESS, path)

        def scan(event: Seen) -> Answer:
            return DENY if os.pread(event.record.fd, 100, 0) == b"bad" else ALLOW

        with Answering(group, scan) as answering:
            touch(path)
        assert answering.masks() == [(Mask.OPEN_PERM, "file")]


def test_an_answer_to_a_descriptor_that_does_not_wait_is_enoent(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(InitFlag.CLASS_CONTENT) as group:
        assert errno_of(group.respond, 0, True) == "ENOENT"
        assert errno_of(group.respond, -1, True) == "EINVAL"
        group.mark(ADD, Mask.OPEN, path)
        touch(path)
        (event,) = group.read_events()
        assert errno_of(group.respond, event, True) == "ENOENT"
        os.close(event.fd)


def test_audited_answers_and_audit_rules_are_taken_from_groups_made_for_them(ext4: Path) -> None:
    path = new_file(ext4)
    rule = AuditRule(rule_number=1)
    plain_refusals: list[str] = []

    def answer_plain(event: Seen) -> Answer:
        plain_refusals.append(errno_of(plain.respond, event.record, True, audit=True))
        return ALLOW

    with listen(InitFlag.CLASS_CONTENT) as plain, listen(InitFlag.CLASS_CONTENT | InitFlag.ENABLE_AUDIT) as audited:
        audited.respond(NOFD, True, audit_rule=rule)  # asks whether the kernel takes rules
        plain.mark(ADD, Mask.OPEN_PERM, path)
        with Answering(plain, answer_plain):
            touch(path)
        plain.close()
        audited.mark(ADD, Mask.OPEN_PERM, path)
        with Answering(audited, lambda _: Answer(False, audit_rule=rule)):
            assert errno_of(touch, path) == "EPERM"
    assert plain_refusals == ["EINVAL"]
