/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the programs in the kernel and user space both read: records, tables and their numbers. User space derives its
 * side from the types in the object file (tools/gen_abi.py), so this is the only place where they are written down.
 *
 * Include vmlinux_min.h or <linux/types.h> first.
 */
#ifndef FP_ABI_H
#define FP_ABI_H

#include "handler.h"

#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"
#endif

enum fp_limit {
	FP_VERSION = 1,
	/* a slot is one mark of scope subtree, or one root set that a handler asks about */
	FP_N_SLOTS = 256,
	FP_SLOT_WORDS = 4,
	FP_N_GROUPS = 256,
	FP_N_SUPERBLOCKS = 1024,
	/* handlers of a group that the programs ask, and those of all groups together */
	FP_N_LINKS = 16,
	FP_N_ATTACHMENTS = 1024,
	FP_PATH_MAX = 4096,
};

enum fp_kind {
	FP_EVENT = 1,
	/* a root was deleted; the record's object is that root */
	FP_ROOT_GONE = 2,
	/* the filesystem is being unmounted for good */
	FP_UNMOUNT = 3,
	/* about the stream, not about a file: the daemon writes it, the programs do not. The inode is the number lost */
	FP_TOLD = 4,
};

enum fp_flag {
	/* no subtree could be told: too deep, not connected, or without a name */
	FP_UNDECIDED = 1,
	/* the path was longer than FP_PATH_MAX, or was not followed to its top: it lacks its beginning */
	FP_TRUNCATED = 2,
	/* directories were being renamed all the while: path and membership may mix the tree before and after */
	FP_TORN = 4,
	/* a handler failed */
	FP_HANDLER_FAILED = 8,
};

/* one bit for each slot */
struct fp_slots {
	__u64 words[FP_SLOT_WORDS];
};

/*
 * A record of the ring buffer: a few bytes of padding, old path, path, and then this. The paths have no NUL, begin at the
 * root of the filesystem, and stand in front because they are put together from their ends.
 */
struct fp_event {
	__u64 boot_ns;
	/* records of this group that found no room, up to now: what it grew by was lost just before this record */
	__u64 n_dropped;
	__u64 inode;
	__u64 cgroup_id;
	/* what the object lies in, and for a rename what it lay in */
	struct fp_slots inside;
	struct fp_slots old_inside;
	/* the kernel's event types, with FS_ISDIR */
	__u32 mask;
	/* the kernel's number of the filesystem's device (20 bits minor) */
	__u32 dev;
	__u32 generation;
	/* grows with each rename of a directory on the filesystem */
	__u32 epoch;
	/* as the listener sees them; 0: it does not */
	__u32 tgid;
	__u32 tid;
	/* effective ids, in the first user namespace */
	__u32 uid;
	__u32 gid;
	/* the mount through which it was reached; 0 when the event does not tell */
	__u32 mount_id;
	__u16 version;
	/* enum fp_kind */
	__u16 kind;
	/* enum fp_flag */
	__u16 flags;
	/* of the object: type and permissions, as in st_mode */
	__u16 mode;
	__u16 path_len;
	__u16 old_path_len;
	/* which of the group's chains was in use (the low bits), and how many of its handlers have let the event pass */
	__u16 chain;
	__u16 n_passed;
	__u32 reserved;
	char comm[16];
};

/* an object: key of the tables of roots and of marked objects */
struct fp_key {
	__u64 inode;
	__u32 dev;
	__u32 generation;
};

/* for which slots an object is a root, and for which it is an exception */
struct fp_root {
	struct fp_slots include;
	struct fp_slots exclude;
};

enum fp_superblock_flag {
	/* a root here is a single file */
	FP_HAS_FILE_ROOTS = 1,
	FP_HAS_OBJECT_MARKS = 2,
	FP_HAS_MOUNT_MARKS = 4,
};

/* a filesystem with marks; found by its device, in the next places when that one is taken */
struct fp_superblock {
	__u32 dev;
	/* event types that somebody asks for here; 0 when it was unmounted */
	__u32 mask;
	__u32 epoch;
	/* enum fp_superblock_flag */
	__u32 flags;
	/* the device as stat() tells it, which is another number on btrfs */
	__u64 user_dev;
	/* slots of scope filesystem, and slots that have a root here */
	struct fp_slots whole;
	struct fp_slots subtrees;
};

/* what a slot's owner asks for */
struct fp_slot {
	/* event types, and FS_ISDIR when events on directories are wanted; 0: the slot only says where an object lies */
	__u32 mask;
	__u32 group;
};

enum fp_group_flag {
	FP_INCLUDE_SELF = 1,
	/* of events that say the same, one that waits unread is enough */
	FP_MERGE = 2,
	/* they do not say the same when they are of two threads */
	FP_WITH_TID = 4,
};

enum fp_link {
	/* the link is the number of an attachment, whose program is asked; without it, of a slot in which an event must lie */
	FP_LINK_PROGRAM = 0x40000000,
	/* for n_passed: a handler has ended the chain, and none is left to be asked */
	FP_PASSED_ALL = 0xffff,
};

/* the handlers of a group from the first on, as far as the programs can ask them */
struct fp_chain {
	/* enum fp_field: what they need to know */
	__u32 needs;
	__u32 n_links;
	__u32 links[FP_N_LINKS];
	/* the slots from whose roots depth is counted */
	struct fp_slots counted;
};

struct fp_group {
	__u64 n_dropped;
	__u64 n_sent;
	__u64 n_skipped;
	__u64 n_undecided;
	__u64 n_merged;
	/* enum fp_group_flag */
	__u32 flags;
	/* how often this place was given to a group */
	__u32 serial;
	/* grows with each change of the handlers; its lowest bit says which of the two is in use */
	__u32 chain;
	__u32 reserved;
	struct fp_chain chains[2];
};

/* what became of the events that a handler's program was asked about */
struct fp_attachment {
	__u64 n_seen;
	__u64 n_skipped;
	__u64 n_denied;
	__u64 n_failed;
};

struct fp_settings {
	/* grows when roots change: answers that were cached before are void */
	__u32 epoch;
	/* in the first namespace */
	__u32 own_tgid;
	/* for inspect: the descriptor asked about */
	__u32 inspect_fd;
	/* the listener's namespace of processes: how deep it lies (0: the first), and its number */
	__u32 pid_level;
	__u32 pid_namespace;
	/* our process has ended: nothing is denied any more, whoever may still hold the programs */
	__u32 is_over;
	/* a handler needs FP_DEPTH */
	__u32 is_depth_needed;
	__u32 reserved;
};

/* operations that a slot's owner denies in it */
enum fp_deny {
	FP_DENY_OPEN = 0x1,
	FP_DENY_OPEN_DIR = 0x2,
	FP_DENY_EXEC = 0x4,
	FP_DENY_ACCESS = 0x8,
	FP_DENY_ACCESS_DIR = 0x10,
	FP_DENY_CREATE = 0x20,
	FP_DENY_MKDIR = 0x40,
	FP_DENY_UNLINK = 0x80,
	FP_DENY_RMDIR = 0x100,
	FP_DENY_RENAME = 0x200,
	FP_DENY_LINK = 0x400,
	FP_DENY_SYMLINK = 0x800,
	FP_DENY_SETATTR = 0x1000,
	FP_DENY_TRUNCATE = 0x2000,
};

enum fp_guard_flag {
	/* where it cannot be told whether something lies in the slot, it is denied */
	FP_DENY_UNDECIDED = 1,
	FP_EXCEPTS_UIDS = 2,
	FP_EXCEPTS_EXES = 4,
	/* only to the processes, and only for the objects, that are in the slot's lists */
	FP_ONLY_PROCESSES = 8,
	FP_ONLY_OBJECTS = 16,
};

/* of a filesystem, in the place that it has among the superblocks: all that is denied anywhere on it */
struct fp_guarded {
	/* enum fp_deny */
	__u32 deny;
};

/* what a slot's owner denies */
struct fp_guard {
	__u64 n_denied;
	/* of operations that may have been in the slot or not, denied or not */
	__u64 n_undecided;
	/* enum fp_deny */
	__u32 deny;
	/* enum fp_guard_flag */
	__u32 flags;
};

/* key of the table of exceptions: an executable; or a user, whose number stands for the inode, and the rest is 0 */
struct fp_exception {
	struct fp_key what;
	__u32 slot;
	__u32 reserved;
};

/* the tables that user space writes through a mapping of its own while the programs run */
struct fp_tables {
	struct fp_settings settings;
	struct fp_superblock superblocks[FP_N_SUPERBLOCKS];
	struct fp_slot slots[FP_N_SLOTS];
	struct fp_group groups[FP_N_GROUPS];
	struct fp_attachment attachments[FP_N_ATTACHMENTS];
	struct fp_guarded guarded[FP_N_SUPERBLOCKS];
	struct fp_guard guards[FP_N_SLOTS];
};

/* what became of the calls of fsnotify() on a CPU */
struct fp_counters {
	__u64 n_seen;
	__u64 n_cached;
	__u64 n_walked;
};

/* what inspect tells of an open file; its path stands behind */
struct fp_inspection {
	__u64 inode;
	struct fp_slots inside;
	__u32 dev;
	__u32 generation;
	__u32 tgid;
	__u32 mount_id;
	/* the process's namespace of processes: how deep it lies, and its number */
	__u32 pid_level;
	__u32 pid_namespace;
	__u16 mode;
	__u16 flags;
	__u32 path_len;
};

#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
