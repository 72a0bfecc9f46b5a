/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What fp_abi.h is for all groups, for those that are held for others: tables by which the programs know for whom. They
 * are here, and not there, so that the programs without views stay as they are.
 */
#ifndef FP_VIEWS_H
#define FP_VIEWS_H

#include "fp_abi.h"

#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic error "-Wpadded"
#endif

enum fp_view_limit {
	FP_N_VIEW_GIDS = 65536,
	/* what all groups that are held for others may name */
	FP_N_VIEW_ROOTS = 65536,
	/* a user may be in so many groups */
	FP_N_GIDS = 1024,
	/* of a longer access control list nothing is followed */
	FP_N_ACL_ENTRIES = 64,
};

enum fp_view_flag {
	/* the group is held for another process; without it, for nobody else */
	FP_VIEWED = 1,
	/* rights are not looked at, nor is anything hidden of processes */
	FP_SEES_ALL = 2,
	/* what that process does itself is told, too */
	FP_SEES_SELF = 4,
	FP_SEES_TID = 8,
	/* it calls processes by other numbers than we do */
	FP_SEES_NO_PROCESSES = 16,
};

/* for whom a group is held */
struct fp_view {
	/* enum fp_view_flag */
	__u32 flags;
	__u32 uid;
	__u32 gid;
	/* as we see it */
	__u32 tgid;
	/* the group's slots that have a number in that process */
	struct fp_slots slots;
};

/* events that were not shown; and those of them for which rights, or where it was, could not be told */
struct fp_view_counters {
	__u64 n_withheld;
	__u64 n_unsure;
};

/* key of the table of supplementary groups */
struct fp_view_gid {
	__u32 group;
	__u32 gid;
};

/* key of the table of what the other process has named */
struct fp_view_key {
	struct fp_key object;
	__u32 group;
	__u32 reserved;
};

enum fp_view_root_flag {
	/* it has no number of a root, only that of a mark on it */
	FP_OF_MARK = 1,
};

struct fp_view_root {
	/* by which the other process calls it */
	__u32 number;
	/* enum fp_view_root_flag */
	__u32 flags;
};

/* in the flags of an event that is shown: the number in front of the path, or of the old path, is that of a mark */
enum fp_shown_flag {
	FP_PATH_OF_MARK = 16,
	FP_OLD_PATH_OF_MARK = 32,
};

#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
