/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Is an operation on something denied? Asked before it is done.
 *
 * Nothing is remembered: each question is answered by a climb of its own, on the stack, because programs of this kind may
 * interrupt each other on a CPU.
 */
#ifndef DENY_BPF_H
#define DENY_BPF_H

#include "climb.bpf.h"
#include "namespace.bpf.h"

#define PF_KTHREAD 0x00200000
/* nobody can make a path so long, but one may climb down step by step */
#define FP_DENY_CLIMB_MAX 4096
/* whoever renames without end is not to get past */
#define FP_DENY_TRIES 16

/* who may nevertheless */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fp_exception);
	__type(value, __u8);
} exceptions SEC(".maps");

/* an object, as stat() tells it */
struct listed_object {
	__u64 dev;
	__u64 inode;
};

/* what handlers have in mind, by slot: processes by their numbers as the listener sees them, and objects */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FP_N_SLOTS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u64));
		__uint(value_size, sizeof(__u64));
	});
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FP_N_SLOTS);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(struct listed_object));
		__uint(value_size, sizeof(__u64));
	});
} objects SEC(".maps");

const enum fp_deny *export_deny SEC(".export") = 0;
const enum fp_guard_flag *export_guard_flag SEC(".export") = 0;
const struct fp_exception *export_exception SEC(".export") = 0;

struct ascent {
	struct climb climb;
	__u64 from;
};

struct judgement {
	__u64 bits;
	__u64 at;
	__u32 first;
	__u32 operations;
	bool is_decided;
	bool is_denied;
};

/* one step, like climb_step, without answers and names; called by bpf_loop, which ends when this returns 1 */
static long ascend_step(__u32 n, struct climb *climb)
{
	struct dentry *dentry = fp_as(dentry, climb->at);
	struct dentry *parent = fp_get(dentry, d_parent);
	struct inode *inode = fp_get(dentry, d_inode);
	struct fp_root *root;
	struct fp_key key;

	if (!inode)
		return 1;
	key_of(&key, fp_as(inode, inode), climb->dev);
	root = bpf_map_lookup_elem(&roots, &key);
	if (root)
		meet_root(climb, root);
	if (parent == dentry) {
		struct super_block *sb = fp_as(super_block, fp_get(dentry, d_sb));

		climb->has_arrived = fp_get(sb, s_root) == dentry;
		return 1;
	}
	climb->at = parent;
	return 0;
}

/* a whole climb, until none is disturbed by a rename; called by bpf_loop */
static long try_step(__u32 n, struct ascent *ascent)
{
	__u32 sequence = rename_sequence();

	begin_climb(&ascent->climb, (const void *)ascent->from);
	bpf_loop(FP_DENY_CLIMB_MAX, ascend_step, &ascent->climb, 0);
	return !(sequence & 1) && sequence == rename_sequence();
}

static __always_inline bool is_user_excepted(__u32 slot)
{
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	struct fp_exception exception = {.slot = slot};

	exception.what.inode = fp_get(fp_as(cred, fp_get(task, cred)), euid.val);
	return bpf_map_lookup_elem(&exceptions, &exception);
}

static __always_inline bool is_program_excepted(__u32 slot)
{
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	const struct mm_struct *mm = fp_get(task, mm);
	struct fp_exception exception = {.slot = slot};
	const struct file *file;
	struct inode *inode;

	if (!mm)
		return false;
	file = fp_get(fp_as(mm_struct, mm), exe_file);
	if (!file)
		return false;
	inode = fp_as(inode, fp_get(fp_as(file, file), f_inode));
	key_of(&exception.what, inode, fp_get(fp_as(super_block, fp_get(inode, i_sb)), s_dev));
	return bpf_map_lookup_elem(&exceptions, &exception);
}

static __always_inline bool is_process_listed(__u32 slot)
{
	void *list = bpf_map_lookup_elem(&processes, &slot);
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	__u64 tgid = bpf_get_current_pid_tgid() >> 32;

	if (tables.settings.pid_level)
		tgid = number_for_listener(fp_get(fp_as(task_struct, fp_get(task, group_leader)), thread_pid));
	return list && bpf_map_lookup_elem(list, &tgid);
}

static __always_inline bool is_object_listed(__u32 slot, __u64 at)
{
	void *list = bpf_map_lookup_elem(&objects, &slot);
	struct inode *inode = fp_as(inode, fp_get(fp_as(dentry, at), d_inode));
	__u32 place = find_superblock(fp_get(fp_as(super_block, fp_get(inode, i_sb)), s_dev));
	struct listed_object object;

	object.dev = tables.superblocks[place & (FP_N_SUPERBLOCKS - 1)].user_dev;
	object.inode = fp_get(inode, i_ino);
	return list && bpf_map_lookup_elem(list, &object);
}

/* Is this process, or this object, one that the owner of a slot has in mind? */
__noinline int is_meant(__u32 slot, __u64 at)
{
	__u32 flags;

	slot &= FP_N_SLOTS - 1;
	flags = tables.guards[slot].flags;
	if (flags & FP_ONLY_PROCESSES && !is_process_listed(slot))
		return false;
	return !(flags & FP_ONLY_OBJECTS) || is_object_listed(slot, at);
}

/* what the owner of one slot says; called by bpf_loop */
static long judge_step(__u32 n, struct judgement *judgement)
{
	__u64 bits = judgement->bits;
	struct fp_guard *guard;
	__u32 slot;

	if (!bits)
		return 1;
	slot = (judgement->first + lowest_bit(bits)) & (FP_N_SLOTS - 1);
	judgement->bits = bits & (bits - 1);
	guard = &tables.guards[slot];
	if (!(guard->deny & judgement->operations))
		return 0;
	if (guard->flags & FP_EXCEPTS_UIDS && is_user_excepted(slot))
		return 0;
	if (guard->flags & FP_EXCEPTS_EXES && is_program_excepted(slot))
		return 0;
	if (guard->flags & (FP_ONLY_PROCESSES | FP_ONLY_OBJECTS) && !is_meant(slot, judgement->at))
		return 0;
	if (!judgement->is_decided) {
		__sync_fetch_and_add(&guard->n_undecided, 1);
		if (!(guard->flags & FP_DENY_UNDECIDED))
			return 0;
	}
	__sync_fetch_and_add(&guard->n_denied, 1);
	judgement->is_denied = true;
	return 0;
}

static __always_inline bool is_judged(__u64 at, __u64 bits, __u32 first, __u32 operations, bool is_decided)
{
	struct judgement judgement = {
		.at = at,
		.bits = bits,
		.first = first,
		.operations = operations,
		.is_decided = is_decided,
	};

	if (!bits)
		return false;
	bpf_loop(64, judge_step, &judgement, 0);
	return judgement.is_denied;
}

/* our own process, process 1 and the kernel's own threads may do everything */
static __always_inline bool is_exempt(void)
{
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return tables.settings.is_over || tgid == tables.settings.own_tgid || tgid == 1 ||
	       fp_get(task, flags) & PF_KTHREAD;
}

/* Does somebody deny one of these operations (enum fp_deny) at a dentry? */
__noinline int is_denied(__u64 at, __u32 operations)
{
	struct dentry *dentry = fp_as(dentry, at);
	struct ascent ascent = {.from = at};
	struct climb *climb = &ascent.climb;
	bool denied = false;
	__u32 place;

	if (!at)
		return 0;
	climb->dev = fp_get(fp_as(super_block, fp_get(dentry, d_sb)), s_dev);
	place = find_superblock(climb->dev);
	if (place >= FP_N_SUPERBLOCKS || !(tables.guarded[place].deny & operations) || is_exempt())
		return 0;
	bpf_loop(FP_DENY_TRIES, try_step, &ascent, 0);
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		denied |= is_judged(at, climb->inside.words[w], w * 64, operations, true);
	for (int w = 0; w < FP_SLOT_WORDS && !climb->has_arrived; w++)
		denied |= is_judged(at, climb->open.words[w] & tables.superblocks[place].subtrees.words[w],
				    w * 64, operations, false);
	return denied;
}

#endif
