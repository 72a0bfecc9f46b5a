/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the programs know: tables that user space writes while they run, and room to work in.
 */
#ifndef TABLES_BPF_H
#define TABLES_BPF_H

#include "fp_abi.h"

/* directories that a climb visits at most: beyond, an event is undecided */
#define FP_CLIMB_MAX 256
/* old path and path stand in front of the record's fixed part; a name is copied at once, so there is room for one more */
#define FP_PATHS (2 * FP_PATH_MAX + 256)
/* a power of two */
#define FP_N_ANSWERS 4096

/* include/linux/fsnotify_backend.h; in a mask beside the types, and changes by which programs and tables are kept up to date */
#define FS_ISDIR 0x40000000
#define FS_ATTRIB 0x00000004
#define FS_DELETE 0x00000200
#define FS_UNMOUNT 0x00002000
#define FS_RENAME 0x10000000

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fp_key);
	__type(value, struct fp_root);
} roots SEC(".maps");

/* in the key of a directory that is marked for what lies in it */
#define FP_ON_CHILD (1u << 31)

/* objects and mounts with marks of their own (FP_HAS_OBJECT_MARKS, FP_HAS_MOUNT_MARKS); a mount's key has its id only */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fp_key);
	__type(value, struct fp_slots);
} marked SEC(".maps");

/* each group's ring buffer */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FP_N_GROUPS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_RINGBUF);
		__uint(max_entries, 4096);
	});
} rings SEC(".maps");

/*
 * What a directory lies in, as it was found on this CPU. Each CPU has answers of its own: so nobody else writes them,
 * because a program that interrupts another of its kind is not run (and counted as missed).
 */
struct answer {
	__u64 inode;
	__u32 dev;
	__u32 generation;
	__u32 superblock_epoch;
	__u32 settings_epoch;
	struct fp_slots inside;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FP_N_ANSWERS);
	__type(key, __u32);
	__type(value, struct answer);
} answers SEC(".maps");

/* the longest path of a directory that is kept */
#define FP_PLACE_BYTES 192
/* a power of two */
#define FP_N_PLACES 1024

/*
 * Where a directory stands, as it was found when an event there was delivered: what it lies in, and its path. It is exact
 * for as long as rename_lock's sequence count is the same.
 */
struct place {
	struct answer answer;
	__u32 sequence;
	__u32 path_len;
	char path[FP_PLACE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FP_N_PLACES);
	__type(key, __u32);
	__type(value, struct place);
} places SEC(".maps");

/* a climb from an object to the top of its filesystem */
struct climb {
	const void *at;
	/* what has been decided, and for which slots nothing has been yet: the nearest root or exception decides */
	struct fp_slots inside;
	struct fp_slots open;
	/* where the path begins in the workspace, and how far it may go there; both 0 when none is wanted */
	__u32 begin;
	__u32 limit;
	/* where the path of the object's directory ends */
	__u32 directory_end;
	__u32 dev;
	/* as they were before the climb: an answer that is out of date by now dies with them */
	__u32 superblock_epoch;
	__u32 settings_epoch;
	/* enum fp_flag */
	__u32 flags;
	/* directories passed so far */
	__u32 n_steps;
	bool has_arrived;
	/* the object itself was found to be a root or an exception, not a directory that it lies in */
	bool has_met_object;
	bool may_ask_answers;
	bool counts_depth;
};

/* the roots that a climb met first are those that count; no more than this many are needed in earnest */
#define FP_N_NEAREST 4

/* a root that a climb met: for which slots it decided, and how far up it was */
struct nearest {
	struct fp_slots slots;
	__u32 n_steps;
	__u32 reserved;
};

/* an event, by the arguments of fsnotify() */
struct incident {
	/* the object's dentry, if there is one */
	const void *dentry;
	/* the directory in which it has that name; the object itself, without a name, if it is a directory and is told of itself */
	const void *directory;
	const void *name;
	/* a rename's old side */
	const void *old_directory;
	const void *old_name;
	const void *inode;
	/* who may want it */
	struct fp_slots wanted;
	struct fp_key key;
	struct fp_key directory_key;
	/* its place in the table */
	__u32 superblock;
	__u32 mask;
	__u32 mount_id;
	__u32 superblock_epoch;
	__u32 settings_epoch;
	/* the object itself, and not only what it lies in, may be a root */
	bool may_be_root;
};

/* an event that was sent: everything by which another one may differ from it */
struct sent {
	struct fp_key key;
	struct fp_key directory_key;
	/* of the name: hash and length */
	__u64 name;
	__u32 mask;
	/* the group's number, and how often that number was given to a group */
	__u32 group;
	__u32 serial;
	__u32 process;
	__u32 uid;
	__u32 superblock_epoch;
	__u32 settings_epoch;
	__u32 reserved;
};

#define FP_SHOWN 0x80000000

/* a record on its way to those who want it, one group after the other */
struct handing {
	/* the slots still to be served: a word of them, the number of the first bit in it, and the next word */
	struct fp_slots whom;
	__u64 bits;
	__u32 first;
	__u32 next_word;
	/* of the incident; and those that the group wants */
	__u32 mask;
	__u32 types;
	/* where the record stands in the workspace */
	__u32 begin;
	__u32 size;
	/* in the first namespace */
	__u32 tgid;
	__u32 flags;
	/* the group at hand, and the handler of it that is asked next */
	__u32 group;
	__u32 chain;
	__u32 link;
	/* enum fp_field: what is told in the event that handlers are shown, and FP_SHOWN when something is */
	__u32 filled;
	bool is_asking;
	bool gives_up;
	__u64 done[FP_N_GROUPS / 64];
};

/*
 * Where a record is put together. The functions that are verified by themselves (those that are not static) hand it on by
 * its number, because the verifier forgets what it knows of a pointer that is passed to them.
 */
struct workspace {
	char paths[FP_PATHS];
	struct fp_event event;
	/* as large again, so that the verifier can bound position and length of a record one by one */
	char beyond[FP_PATHS];
	struct climb climb;
	struct incident incident;
	struct sent sent;
	struct handing handing;
	__u32 n_nearest;
	__u32 reserved;
	struct nearest nearest[FP_N_NEAREST];
};

enum { FOR_DISPATCH, FOR_INSPECT, N_WORKSPACES };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_WORKSPACES);
	__type(key, __u32);
	__type(value, struct workspace);
} workspaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fp_counters);
} counters SEC(".maps");

struct fp_tables tables = {};

/* keeps these types in the object, from which user space takes its side of them (tools/gen_abi.py) */
const struct fp_event *export_event SEC(".export") = 0;
const struct fp_inspection *export_inspection SEC(".export") = 0;
const enum fp_limit *export_limit SEC(".export") = 0;
const enum fp_kind *export_kind SEC(".export") = 0;
const enum fp_flag *export_flag SEC(".export") = 0;
const enum fp_superblock_flag *export_superblock_flag SEC(".export") = 0;
const enum fp_group_flag *export_group_flag SEC(".export") = 0;

/* Returns the place in the table, FP_N_SUPERBLOCKS if it is not there. */
static __always_inline __u32 find_superblock(__u32 dev)
{
	/* minor numbers of filesystems without a device count up from 1, those of partitions stand in the low bits */
	__u32 place = dev ^ dev >> 20;

	for (int n = 0; n < 4; n++, place++) {
		place &= FP_N_SUPERBLOCKS - 1;
		if (tables.superblocks[place].dev == dev)
			return place;
		if (!tables.superblocks[place].dev)
			break;
	}
	return FP_N_SUPERBLOCKS;
}

static __always_inline struct workspace *workspace_of(__u32 number)
{
	return bpf_map_lookup_elem(&workspaces, &number);
}

static __always_inline void key_of(struct fp_key *key, const struct inode *inode, __u32 dev)
{
	key->inode = fp_get(inode, i_ino);
	key->dev = dev;
	key->generation = fp_get(inode, i_generation);
}

static __always_inline __u32 hash_of(const struct fp_key *key)
{
	return key->inode * 0x9e3779b97f4a7c15ull >> 40 ^ key->dev;
}

static __always_inline struct answer *answer_of(const struct fp_key *key)
{
	__u32 number = hash_of(key) & (FP_N_ANSWERS - 1);

	return bpf_map_lookup_elem(&answers, &number);
}

static __always_inline struct place *place_of(const struct fp_key *key)
{
	__u32 number = hash_of(key) & (FP_N_PLACES - 1);

	return bpf_map_lookup_elem(&places, &number);
}

static __always_inline bool is_any(const struct fp_slots *some)
{
	return some->words[0] | some->words[1] | some->words[2] | some->words[3];
}

static __always_inline __u32 lowest_bit(__u64 bits)
{
	__u64 below = (bits & -bits) - 1;

	/* the number of ones in it, by adding up ever larger fields */
	below -= below >> 1 & 0x5555555555555555ull;
	below = (below & 0x3333333333333333ull) + (below >> 2 & 0x3333333333333333ull);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return below * 0x0101010101010101ull >> 56;
}

#endif
