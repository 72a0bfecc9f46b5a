"""
What the programs in the kernel and user space both read: structures by name, numbers as enumerations.

Written by tools/gen_abi.py from bpf/include/fp_abi.h, fp_views.h and handler.h; to change it, change these and run the
tool.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from fanotify_fastpath._bpf.layout import Field, Layout, Layouts


class FpDeny(IntEnum):
    """``enum fp_deny``."""

    DENY_OPEN = 1
    DENY_OPEN_DIR = 2
    DENY_EXEC = 4
    DENY_ACCESS = 8
    DENY_ACCESS_DIR = 16
    DENY_CREATE = 32
    DENY_MKDIR = 64
    DENY_UNLINK = 128
    DENY_RMDIR = 256
    DENY_RENAME = 512
    DENY_LINK = 1024
    DENY_SYMLINK = 2048
    DENY_SETATTR = 4096
    DENY_TRUNCATE = 8192


class FpField(IntEnum):
    """``enum fp_field``."""

    NAME = 1
    INODE = 2
    DIR_INODE = 4
    OBJECT = 8
    USER = 16
    COMM = 32
    EXE = 64
    CGROUP = 128
    DEPTH = 256
    ANCESTORS = 512
    PLACE = 1024


class FpFlag(IntEnum):
    """``enum fp_flag``."""

    UNDECIDED = 1
    TRUNCATED = 2
    TORN = 4
    HANDLER_FAILED = 8


class FpGroupFlag(IntEnum):
    """``enum fp_group_flag``."""

    INCLUDE_SELF = 1
    MERGE = 2
    WITH_TID = 4


class FpGuardFlag(IntEnum):
    """``enum fp_guard_flag``."""

    DENY_UNDECIDED = 1
    EXCEPTS_UIDS = 2
    EXCEPTS_EXES = 4
    ONLY_PROCESSES = 8
    ONLY_OBJECTS = 16


class FpHandlerLimit(IntEnum):
    """``enum fp_handler_limit``."""

    EVENT_VERSION = 1
    NAME_BYTES = 255
    EXE_BYTES = 255
    COMM_BYTES = 15
    N_ANCESTORS = 16
    TEXT_BEYOND = 65


class FpKind(IntEnum):
    """``enum fp_kind``."""

    EVENT = 1
    ROOT_GONE = 2
    UNMOUNT = 3
    TOLD = 4


class FpLimit(IntEnum):
    """``enum fp_limit``."""

    VERSION = 1
    N_SLOTS = 256
    SLOT_WORDS = 4
    N_GROUPS = 256
    N_SUPERBLOCKS = 1024
    N_LINKS = 16
    N_ATTACHMENTS = 1024
    PATH_MAX = 4096


class FpLink(IntEnum):
    """``enum fp_link``."""

    LINK_PROGRAM = 1073741824
    PASSED_ALL = 65535


class FpShownFlag(IntEnum):
    """``enum fp_shown_flag``."""

    PATH_OF_MARK = 16
    OLD_PATH_OF_MARK = 32


class FpSuperblockFlag(IntEnum):
    """``enum fp_superblock_flag``."""

    HAS_FILE_ROOTS = 1
    HAS_OBJECT_MARKS = 2
    HAS_MOUNT_MARKS = 4


class FpVerdict(IntEnum):
    """``enum fp_verdict``."""

    SKIP_EVENT = 0
    SEND_TO_USERSPACE = 1
    FAILED = 2
    UNASKED = 3


class FpViewFlag(IntEnum):
    """``enum fp_view_flag``."""

    VIEWED = 1
    SEES_ALL = 2
    SEES_SELF = 4
    SEES_TID = 8
    SEES_NO_PROCESSES = 16


class FpViewLimit(IntEnum):
    """``enum fp_view_limit``."""

    N_VIEW_GIDS = 65536
    N_VIEW_ROOTS = 65536
    N_GIDS = 1024
    N_ACL_ENTRIES = 64


class FpViewRootFlag(IntEnum):
    """``enum fp_view_root_flag``."""

    OF_MARK = 1


class FpAttachment(NamedTuple):
    """``struct fp_attachment``, as unpacked."""

    n_seen: int
    n_skipped: int
    n_denied: int
    n_failed: int


class FpChain(NamedTuple):
    """``struct fp_chain``, as unpacked."""

    needs: int
    n_links: int
    links: bytes
    counted: bytes


class FpCounters(NamedTuple):
    """``struct fp_counters``, as unpacked."""

    n_seen: int
    n_cached: int
    n_walked: int


class FpEvent(NamedTuple):
    """``struct fp_event``, as unpacked."""

    boot_ns: int
    n_dropped: int
    inode: int
    cgroup_id: int
    inside: bytes
    old_inside: bytes
    mask: int
    dev: int
    generation: int
    epoch: int
    tgid: int
    tid: int
    uid: int
    gid: int
    mount_id: int
    version: int
    kind: int
    flags: int
    mode: int
    path_len: int
    old_path_len: int
    chain: int
    n_passed: int
    reserved: int
    comm: bytes


class FpException(NamedTuple):
    """``struct fp_exception``, as unpacked."""

    what: bytes
    slot: int
    reserved: int


class FpGroup(NamedTuple):
    """``struct fp_group``, as unpacked."""

    n_dropped: int
    n_sent: int
    n_skipped: int
    n_undecided: int
    n_merged: int
    flags: int
    serial: int
    chain: int
    reserved: int
    chains: bytes


class FpGuard(NamedTuple):
    """``struct fp_guard``, as unpacked."""

    n_denied: int
    n_undecided: int
    deny: int
    flags: int


class FpGuarded(NamedTuple):
    """``struct fp_guarded``, as unpacked."""

    deny: int


class FpHandlerEvent(NamedTuple):
    """``struct fp_handler_event``, as unpacked."""

    time_ns: int
    dev: int
    inode: int
    dir_inode: int
    size: int
    cgroup_id: int
    inside: bytes
    known: int
    mask: int
    generation: int
    mode: int
    owner_uid: int
    owner_gid: int
    n_links: int
    uid: int
    gid: int
    tgid: int
    tid: int
    depth: int
    n_ancestors: int
    name_len: int
    exe_len: int
    comm_len: int
    ancestors: bytes
    comm: bytes
    name: bytes
    exe: bytes
    verdict: int
    reserved: int


class FpInspection(NamedTuple):
    """``struct fp_inspection``, as unpacked."""

    inode: int
    inside: bytes
    dev: int
    generation: int
    tgid: int
    mount_id: int
    pid_level: int
    pid_namespace: int
    mode: int
    flags: int
    path_len: int


class FpKey(NamedTuple):
    """``struct fp_key``, as unpacked."""

    inode: int
    dev: int
    generation: int


class FpRoot(NamedTuple):
    """``struct fp_root``, as unpacked."""

    include: bytes
    exclude: bytes


class FpSettings(NamedTuple):
    """``struct fp_settings``, as unpacked."""

    epoch: int
    own_tgid: int
    inspect_fd: int
    pid_level: int
    pid_namespace: int
    is_over: int
    is_depth_needed: int
    reserved: int


class FpSlot(NamedTuple):
    """``struct fp_slot``, as unpacked."""

    mask: int
    group: int


class FpSlots(NamedTuple):
    """``struct fp_slots``, as unpacked."""

    words: bytes


class FpSuperblock(NamedTuple):
    """``struct fp_superblock``, as unpacked."""

    dev: int
    mask: int
    epoch: int
    flags: int
    user_dev: int
    whole: bytes
    subtrees: bytes


class FpTables(NamedTuple):
    """``struct fp_tables``, as unpacked."""

    settings: bytes
    superblocks: bytes
    slots: bytes
    groups: bytes
    attachments: bytes
    guarded: bytes
    guards: bytes


class FpView(NamedTuple):
    """``struct fp_view``, as unpacked."""

    flags: int
    uid: int
    gid: int
    tgid: int
    slots: bytes


class FpViewCounters(NamedTuple):
    """``struct fp_view_counters``, as unpacked."""

    n_withheld: int
    n_unsure: int


class FpViewGid(NamedTuple):
    """``struct fp_view_gid``, as unpacked."""

    group: int
    gid: int


class FpViewKey(NamedTuple):
    """``struct fp_view_key``, as unpacked."""

    object: bytes
    group: int
    reserved: int


class FpViewRoot(NamedTuple):
    """``struct fp_view_root``, as unpacked."""

    number: int
    flags: int


#: all of it
LAYOUTS: Final = Layouts(
    structs={
        "fp_attachment": Layout(
            size=32,
            fields={
                "n_seen": Field(0, 8, "Q"),
                "n_skipped": Field(8, 8, "Q"),
                "n_denied": Field(16, 8, "Q"),
                "n_failed": Field(24, 8, "Q"),
            },
        ),
        "fp_chain": Layout(
            size=104,
            fields={
                "needs": Field(0, 4, "I"),
                "n_links": Field(4, 4, "I"),
                "links": Field(8, 64, "64s"),
                "counted": Field(72, 32, "32s"),
            },
        ),
        "fp_counters": Layout(
            size=24,
            fields={
                "n_seen": Field(0, 8, "Q"),
                "n_cached": Field(8, 8, "Q"),
                "n_walked": Field(16, 8, "Q"),
            },
        ),
        "fp_event": Layout(
            size=168,
            fields={
                "boot_ns": Field(0, 8, "Q"),
                "n_dropped": Field(8, 8, "Q"),
                "inode": Field(16, 8, "Q"),
                "cgroup_id": Field(24, 8, "Q"),
                "inside": Field(32, 32, "32s"),
                "old_inside": Field(64, 32, "32s"),
                "mask": Field(96, 4, "I"),
                "dev": Field(100, 4, "I"),
                "generation": Field(104, 4, "I"),
                "epoch": Field(108, 4, "I"),
                "tgid": Field(112, 4, "I"),
                "tid": Field(116, 4, "I"),
                "uid": Field(120, 4, "I"),
                "gid": Field(124, 4, "I"),
                "mount_id": Field(128, 4, "I"),
                "version": Field(132, 2, "H"),
                "kind": Field(134, 2, "H"),
                "flags": Field(136, 2, "H"),
                "mode": Field(138, 2, "H"),
                "path_len": Field(140, 2, "H"),
                "old_path_len": Field(142, 2, "H"),
                "chain": Field(144, 2, "H"),
                "n_passed": Field(146, 2, "H"),
                "reserved": Field(148, 4, "I"),
                "comm": Field(152, 16, "16s"),
            },
        ),
        "fp_exception": Layout(
            size=24,
            fields={
                "what": Field(0, 16, "16s"),
                "slot": Field(16, 4, "I"),
                "reserved": Field(20, 4, "I"),
            },
        ),
        "fp_group": Layout(
            size=264,
            fields={
                "n_dropped": Field(0, 8, "Q"),
                "n_sent": Field(8, 8, "Q"),
                "n_skipped": Field(16, 8, "Q"),
                "n_undecided": Field(24, 8, "Q"),
                "n_merged": Field(32, 8, "Q"),
                "flags": Field(40, 4, "I"),
                "serial": Field(44, 4, "I"),
                "chain": Field(48, 4, "I"),
                "reserved": Field(52, 4, "I"),
                "chains": Field(56, 208, "208s"),
            },
        ),
        "fp_guard": Layout(
            size=24,
            fields={
                "n_denied": Field(0, 8, "Q"),
                "n_undecided": Field(8, 8, "Q"),
                "deny": Field(16, 4, "I"),
                "flags": Field(20, 4, "I"),
            },
        ),
        "fp_guarded": Layout(
            size=4,
            fields={
                "deny": Field(0, 4, "I"),
            },
        ),
        "fp_handler_event": Layout(
            size=872,
            fields={
                "time_ns": Field(0, 8, "Q"),
                "dev": Field(8, 8, "Q"),
                "inode": Field(16, 8, "Q"),
                "dir_inode": Field(24, 8, "Q"),
                "size": Field(32, 8, "Q"),
                "cgroup_id": Field(40, 8, "Q"),
                "inside": Field(48, 32, "32s"),
                "known": Field(80, 4, "I"),
                "mask": Field(84, 4, "I"),
                "generation": Field(88, 4, "I"),
                "mode": Field(92, 4, "I"),
                "owner_uid": Field(96, 4, "I"),
                "owner_gid": Field(100, 4, "I"),
                "n_links": Field(104, 4, "I"),
                "uid": Field(108, 4, "I"),
                "gid": Field(112, 4, "I"),
                "tgid": Field(116, 4, "I"),
                "tid": Field(120, 4, "I"),
                "depth": Field(124, 4, "I"),
                "n_ancestors": Field(128, 4, "I"),
                "name_len": Field(132, 4, "I"),
                "exe_len": Field(136, 4, "I"),
                "comm_len": Field(140, 4, "I"),
                "ancestors": Field(144, 64, "64s"),
                "comm": Field(208, 16, "16s"),
                "name": Field(224, 320, "320s"),
                "exe": Field(544, 320, "320s"),
                "verdict": Field(864, 4, "i"),
                "reserved": Field(868, 4, "I"),
            },
        ),
        "fp_inspection": Layout(
            size=72,
            fields={
                "inode": Field(0, 8, "Q"),
                "inside": Field(8, 32, "32s"),
                "dev": Field(40, 4, "I"),
                "generation": Field(44, 4, "I"),
                "tgid": Field(48, 4, "I"),
                "mount_id": Field(52, 4, "I"),
                "pid_level": Field(56, 4, "I"),
                "pid_namespace": Field(60, 4, "I"),
                "mode": Field(64, 2, "H"),
                "flags": Field(66, 2, "H"),
                "path_len": Field(68, 4, "I"),
            },
        ),
        "fp_key": Layout(
            size=16,
            fields={
                "inode": Field(0, 8, "Q"),
                "dev": Field(8, 4, "I"),
                "generation": Field(12, 4, "I"),
            },
        ),
        "fp_root": Layout(
            size=64,
            fields={
                "include": Field(0, 32, "32s"),
                "exclude": Field(32, 32, "32s"),
            },
        ),
        "fp_settings": Layout(
            size=32,
            fields={
                "epoch": Field(0, 4, "I"),
                "own_tgid": Field(4, 4, "I"),
                "inspect_fd": Field(8, 4, "I"),
                "pid_level": Field(12, 4, "I"),
                "pid_namespace": Field(16, 4, "I"),
                "is_over": Field(20, 4, "I"),
                "is_depth_needed": Field(24, 4, "I"),
                "reserved": Field(28, 4, "I"),
            },
        ),
        "fp_slot": Layout(
            size=8,
            fields={
                "mask": Field(0, 4, "I"),
                "group": Field(4, 4, "I"),
            },
        ),
        "fp_slots": Layout(
            size=32,
            fields={
                "words": Field(0, 32, "32s"),
            },
        ),
        "fp_superblock": Layout(
            size=88,
            fields={
                "dev": Field(0, 4, "I"),
                "mask": Field(4, 4, "I"),
                "epoch": Field(8, 4, "I"),
                "flags": Field(12, 4, "I"),
                "user_dev": Field(16, 8, "Q"),
                "whole": Field(24, 32, "32s"),
                "subtrees": Field(56, 32, "32s"),
            },
        ),
        "fp_tables": Layout(
            size=202784,
            fields={
                "settings": Field(0, 32, "32s"),
                "superblocks": Field(32, 90112, "90112s"),
                "slots": Field(90144, 2048, "2048s"),
                "groups": Field(92192, 67584, "67584s"),
                "attachments": Field(159776, 32768, "32768s"),
                "guarded": Field(192544, 4096, "4096s"),
                "guards": Field(196640, 6144, "6144s"),
            },
        ),
        "fp_view": Layout(
            size=48,
            fields={
                "flags": Field(0, 4, "I"),
                "uid": Field(4, 4, "I"),
                "gid": Field(8, 4, "I"),
                "tgid": Field(12, 4, "I"),
                "slots": Field(16, 32, "32s"),
            },
        ),
        "fp_view_counters": Layout(
            size=16,
            fields={
                "n_withheld": Field(0, 8, "Q"),
                "n_unsure": Field(8, 8, "Q"),
            },
        ),
        "fp_view_gid": Layout(
            size=8,
            fields={
                "group": Field(0, 4, "I"),
                "gid": Field(4, 4, "I"),
            },
        ),
        "fp_view_key": Layout(
            size=24,
            fields={
                "object": Field(0, 16, "16s"),
                "group": Field(16, 4, "I"),
                "reserved": Field(20, 4, "I"),
            },
        ),
        "fp_view_root": Layout(
            size=8,
            fields={
                "number": Field(0, 4, "I"),
                "flags": Field(4, 4, "I"),
            },
        ),
    },
    enums={
        "fp_deny": {
            "FP_DENY_OPEN": 1,
            "FP_DENY_OPEN_DIR": 2,
            "FP_DENY_EXEC": 4,
            "FP_DENY_ACCESS": 8,
            "FP_DENY_ACCESS_DIR": 16,
            "FP_DENY_CREATE": 32,
            "FP_DENY_MKDIR": 64,
            "FP_DENY_UNLINK": 128,
            "FP_DENY_RMDIR": 256,
            "FP_DENY_RENAME": 512,
            "FP_DENY_LINK": 1024,
            "FP_DENY_SYMLINK": 2048,
            "FP_DENY_SETATTR": 4096,
            "FP_DENY_TRUNCATE": 8192,
        },
        "fp_field": {
            "FP_NAME": 1,
            "FP_INODE": 2,
            "FP_DIR_INODE": 4,
            "FP_OBJECT": 8,
            "FP_USER": 16,
            "FP_COMM": 32,
            "FP_EXE": 64,
            "FP_CGROUP": 128,
            "FP_DEPTH": 256,
            "FP_ANCESTORS": 512,
            "FP_PLACE": 1024,
        },
        "fp_flag": {
            "FP_UNDECIDED": 1,
            "FP_TRUNCATED": 2,
            "FP_TORN": 4,
            "FP_HANDLER_FAILED": 8,
        },
        "fp_group_flag": {
            "FP_INCLUDE_SELF": 1,
            "FP_MERGE": 2,
            "FP_WITH_TID": 4,
        },
        "fp_guard_flag": {
            "FP_DENY_UNDECIDED": 1,
            "FP_EXCEPTS_UIDS": 2,
            "FP_EXCEPTS_EXES": 4,
            "FP_ONLY_PROCESSES": 8,
            "FP_ONLY_OBJECTS": 16,
        },
        "fp_handler_limit": {
            "FP_EVENT_VERSION": 1,
            "FP_NAME_BYTES": 255,
            "FP_EXE_BYTES": 255,
            "FP_COMM_BYTES": 15,
            "FP_N_ANCESTORS": 16,
            "FP_TEXT_BEYOND": 65,
        },
        "fp_kind": {
            "FP_EVENT": 1,
            "FP_ROOT_GONE": 2,
            "FP_UNMOUNT": 3,
            "FP_TOLD": 4,
        },
        "fp_limit": {
            "FP_VERSION": 1,
            "FP_N_SLOTS": 256,
            "FP_SLOT_WORDS": 4,
            "FP_N_GROUPS": 256,
            "FP_N_SUPERBLOCKS": 1024,
            "FP_N_LINKS": 16,
            "FP_N_ATTACHMENTS": 1024,
            "FP_PATH_MAX": 4096,
        },
        "fp_link": {
            "FP_LINK_PROGRAM": 1073741824,
            "FP_PASSED_ALL": 65535,
        },
        "fp_shown_flag": {
            "FP_PATH_OF_MARK": 16,
            "FP_OLD_PATH_OF_MARK": 32,
        },
        "fp_superblock_flag": {
            "FP_HAS_FILE_ROOTS": 1,
            "FP_HAS_OBJECT_MARKS": 2,
            "FP_HAS_MOUNT_MARKS": 4,
        },
        "fp_verdict": {
            "FP_SKIP_EVENT": 0,
            "FP_SEND_TO_USERSPACE": 1,
            "FP_FAILED": 2,
            "FP_UNASKED": 3,
        },
        "fp_view_flag": {
            "FP_VIEWED": 1,
            "FP_SEES_ALL": 2,
            "FP_SEES_SELF": 4,
            "FP_SEES_TID": 8,
            "FP_SEES_NO_PROCESSES": 16,
        },
        "fp_view_limit": {
            "FP_N_VIEW_GIDS": 65536,
            "FP_N_VIEW_ROOTS": 65536,
            "FP_N_GIDS": 1024,
            "FP_N_ACL_ENTRIES": 64,
        },
        "fp_view_root_flag": {
            "FP_OF_MARK": 1,
        },
    },
)
