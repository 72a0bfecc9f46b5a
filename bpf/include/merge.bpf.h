/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Merging: an event that says the same as one that the group has not read yet is not sent again.
 *
 * Each CPU remembers what it sent last, and where in the ring buffer. Events that make or take names are never merged:
 * their order matters.
 */
#ifndef MERGE_BPF_H
#define MERGE_BPF_H

#include "tables.bpf.h"

#define FS_ACCESS 0x00000001
#define FS_MODIFY 0x00000002
#define FS_CLOSE_WRITE 0x00000008
#define FS_CLOSE_NOWRITE 0x00000010
#define FS_OPEN 0x00000020
#define FS_OPEN_EXEC 0x00001000
#define FP_MERGEABLE (FS_ACCESS | FS_MODIFY | FS_ATTRIB | FS_CLOSE_WRITE | FS_CLOSE_NOWRITE | FS_OPEN | FS_OPEN_EXEC)

/* a power of two */
#define FP_N_SENT 1024

/* what bpf_ringbuf_query() is asked (include/uapi/linux/bpf.h) */
enum { BPF_RB_CONS_POS = 2, BPF_RB_PROD_POS = 3 };

struct sending {
	struct sent what;
	/* the ring buffer's end before the record went into it: the record does not begin before */
	__u64 position;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FP_N_SENT);
	__type(key, __u32);
	__type(value, struct sending);
} sendings SEC(".maps");

static __always_inline void describe(struct sent *sent, const struct workspace *work, const struct fp_group *group,
				     __u32 number, __u32 types)
{
	const struct incident *incident = &work->incident;

	sent->key = incident->key;
	sent->directory_key = incident->directory_key;
	sent->name = incident->name ? fp_get(fp_as(qstr, incident->name), hash_len) : 0;
	sent->mask = types;
	sent->group = number;
	sent->serial = group->serial;
	sent->process = group->flags & FP_WITH_TID ? work->event.tid : work->event.tgid;
	sent->uid = work->event.uid;
	sent->superblock_epoch = incident->superblock_epoch;
	sent->settings_epoch = incident->settings_epoch;
	sent->reserved = 0;
}

static __always_inline bool is_same(const struct sent *one, const struct sent *other)
{
	const __u64 *a = (const __u64 *)one, *b = (const __u64 *)other;
	__u64 differences = 0;

	for (unsigned int n = 0; n < sizeof(*one) / sizeof(*a); n++)
		differences |= a[n] ^ b[n];
	return !differences;
}

static __always_inline struct sending *sending_of(const struct sent *sent)
{
	__u64 mixed = sent->key.inode ^ sent->name ^ (__u64)sent->mask << 32 ^ (__u64)sent->group << 48 ^
		      (__u64)sent->uid << 24 ^ sent->process;
	__u32 number = mixed * 0x9e3779b97f4a7c15ull >> 40 & (FP_N_SENT - 1);

	return bpf_map_lookup_elem(&sendings, &number);
}

static __always_inline bool may_merge(const struct fp_group *group, __u32 types)
{
	return group->flags & FP_MERGE && !(types & ~(FP_MERGEABLE | FS_ISDIR));
}

/* Is such an event in the ring buffer, and has its reader not come to it? */
static __always_inline bool is_waiting(const struct sending *sending, const struct sent *sent, void *ring)
{
	return is_same(&sending->what, sent) && bpf_ringbuf_query(ring, BPF_RB_CONS_POS) <= sending->position;
}

#endif
