/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a handler in the kernel is shown of an event, and what it answers.
 *
 * Include vmlinux_min.h or <linux/types.h> first.
 */
#ifndef HANDLER_H
#define HANDLER_H

#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"
#endif

/* of what is below and of how arguments lie in memory; a macro, because each handler's object has it as text */
#define FP_HANDLER_VERSION 1

enum fp_handler_limit {
	FP_EVENT_VERSION = FP_HANDLER_VERSION,
	FP_NAME_BYTES = 255,
	FP_EXE_BYTES = 255,
	FP_COMM_BYTES = 15,
	FP_N_ANCESTORS = 16,
	/* behind a name there are as many zeros, so that it can be read in words from any of its bytes */
	FP_TEXT_BEYOND = 65,
};

/* what is filled in, because the handler needs it and it is known; the rest is from another event, or zero */
enum fp_field {
	FP_NAME = 0x1,
	/* inode and device; generation, where the kernel is asked */
	FP_INODE = 0x2,
	FP_DIR_INODE = 0x4,
	/* size, mode, owner and number of links */
	FP_OBJECT = 0x8,
	/* uid, gid */
	FP_USER = 0x10,
	FP_COMM = 0x20,
	FP_EXE = 0x40,
	FP_CGROUP = 0x80,
	FP_DEPTH = 0x100,
	FP_ANCESTORS = 0x200,
	/* in which slots it lies */
	FP_PLACE = 0x400,
};

enum fp_verdict {
	FP_SKIP_EVENT = 0,
	FP_SEND_TO_USERSPACE = 1,
	/* what would be an exception in Python: the event is sent, undecided */
	FP_FAILED = 2,
	/* no verdict: the listener is to ask */
	FP_UNASKED = 3,
};

struct fp_handler_event {
	/* clock CLOCK_BOOTTIME */
	__u64 time_ns;
	/* as stat() tells it, see makedev() */
	__u64 dev;
	__u64 inode;
	__u64 dir_inode;
	__u64 size;
	__u64 cgroup_id;
	/* one bit for each slot in which the object lies, or lay before it was renamed */
	__u64 inside[4];
	/* enum fp_field */
	__u32 known;
	/* event types and FAN_ONDIR */
	__u32 mask;
	__u32 generation;
	__u32 mode;
	__u32 owner_uid;
	__u32 owner_gid;
	__u32 n_links;
	__u32 uid;
	__u32 gid;
	__u32 tgid;
	__u32 tid;
	/* directories from the nearest root down to the object; of the root itself 0 */
	__u32 depth;
	__u32 n_ancestors;
	__u32 name_len;
	__u32 exe_len;
	__u32 comm_len;
	/* process ids of what started the process, what started that, and so on */
	__u32 ancestors[FP_N_ANCESTORS];
	char comm[16];
	/* zeros behind the end */
	char name[FP_NAME_BYTES + FP_TEXT_BEYOND];
	char exe[FP_EXE_BYTES + FP_TEXT_BEYOND];
	/* enum fp_verdict, or a negative error number to deny with */
	__s32 verdict;
	__u32 reserved;
};

#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
