/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Climbing from an object to the top of its filesystem: in which slots it lies, and how its path reads.
 *
 * Nothing is locked. A directory that is moved meanwhile can lead a climb astray; that is seen by rename_lock's sequence
 * count, which every move changes, and the climb is made again.
 */
#ifndef CLIMB_BPF_H
#define CLIMB_BPF_H

#include "tables.bpf.h"

/* a climb that moves disturb so often in a row is said to be torn */
#define FP_TRIES 4

/* Note how far up a root is that decides for some slots. */
static __always_inline void note_nearest(struct workspace *work, const struct fp_root *root)
{
	struct climb *climb = &work->climb;
	__u32 n = work->n_nearest;
	struct nearest *nearest;

	if (n >= FP_N_NEAREST)
		return;
	nearest = &work->nearest[n];
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		nearest->slots.words[w] = climb->open.words[w] & root->include.words[w];
	nearest->n_steps = climb->n_steps;
	work->n_nearest = n + 1;
}

static __always_inline void meet_root(struct climb *climb, const struct fp_root *root)
{
	for (int n = 0; n < FP_SLOT_WORDS; n++) {
		climb->inside.words[n] |= climb->open.words[n] & root->include.words[n];
		climb->open.words[n] &= ~(root->include.words[n] | root->exclude.words[n]);
	}
}

static __always_inline void begin_climb(struct climb *climb, const void *at)
{
	climb->at = at;
	climb->has_arrived = false;
	climb->has_met_object = false;
	climb->n_steps = 0;
	for (int n = 0; n < FP_SLOT_WORDS; n++) {
		climb->inside.words[n] = 0;
		climb->open.words[n] = ~0ull;
	}
}

static __always_inline void put_name(struct workspace *work, __u32 len, const void *name)
{
	struct climb *climb = &work->climb;
	__u32 begin = climb->begin;

	if (len > 255 || begin < climb->limit + len + 1) {
		climb->flags |= FP_TRUNCATED;
		climb->limit = FP_PATHS;
		return;
	}
	begin -= len;
	if (begin >= FP_PATHS)
		return;
	bpf_probe_read_kernel(&work->paths[begin], len, name);
	begin--;
	if (begin >= FP_PATHS)
		return;
	work->paths[begin] = '/';
	climb->begin = begin;
}

static __always_inline bool is_valid(const struct answer *answer, const struct fp_key *key, __u32 superblock_epoch,
				     __u32 settings_epoch)
{
	return answer->inode == key->inode && answer->dev == key->dev && answer->generation == key->generation &&
	       answer->superblock_epoch == superblock_epoch && answer->settings_epoch == settings_epoch;
}

static __always_inline void set_answer(struct answer *answer, const struct fp_key *key, const struct climb *climb)
{
	answer->inode = key->inode;
	answer->dev = key->dev;
	answer->generation = key->generation;
	answer->superblock_epoch = climb->superblock_epoch;
	answer->settings_epoch = climb->settings_epoch;
	answer->inside = climb->inside;
}

static __always_inline void add_answer(struct climb *climb, const struct answer *answer)
{
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		climb->inside.words[w] |= climb->open.words[w] & answer->inside.words[w];
}

static __always_inline bool take_answer(struct climb *climb, const struct fp_key *key)
{
	struct answer *answer = answer_of(key);

	if (!answer || !is_valid(answer, key, climb->superblock_epoch, climb->settings_epoch))
		return false;
	add_answer(climb, answer);
	return true;
}

struct climber {
	struct workspace *work;
};

/* one step; called by bpf_loop, which ends when this returns 1 */
static long climb_step(__u32 n, struct climber *climber)
{
	struct workspace *work = climber->work;
	struct climb *climb = &work->climb;
	struct dentry *dentry = fp_as(dentry, climb->at);
	struct dentry *parent = fp_get(dentry, d_parent);
	struct inode *inode = fp_get(dentry, d_inode);
	struct fp_root *root;
	struct fp_key key;

	if (!inode)
		return 1;
	inode = fp_as(inode, inode);
	key_of(&key, inode, climb->dev);
	if (climb->may_ask_answers && take_answer(climb, &key)) {
		climb->has_arrived = true;
		return 1;
	}
	root = bpf_map_lookup_elem(&roots, &key);
	if (root) {
		if (climb->counts_depth)
			note_nearest(work, root);
		meet_root(climb, root);
	}
	climb->n_steps++;
	if (parent == dentry) {
		struct super_block *sb = fp_as(super_block, fp_get(inode, i_sb));

		climb->has_arrived = fp_get(sb, s_root) == dentry;
		return 1;
	}
	if (climb->begin && climb->limit < FP_PATHS)
		put_name(work, fp_get(dentry, d_name.len), fp_get(dentry, d_name.name));
	climb->at = parent;
	return 0;
}

/* Climb, once begun. */
__noinline int climb_up(__u32 number)
{
	struct climber climber = {.work = workspace_of(number)};

	if (!climber.work)
		return 0;
	bpf_loop(FP_CLIMB_MAX, climb_step, &climber, 0);
	return climber.work->climb.has_arrived;
}

/* Find out what the directory of this key lies in, and leave the answer for the next event there. */
__noinline int climb_for_answer(__u32 number, const struct fp_key *key)
{
	struct workspace *work = workspace_of(number);
	struct answer *answer;

	if (!work || !key)
		return 0;
	for (int n = 0; n < FP_TRIES; n++) {
		__u32 sequence = rename_sequence();
		const void *directory = work->climb.at;

		begin_climb(&work->climb, directory);
		if (!climb_up(number))
			return 0;
		if (!(sequence & 1) && sequence == rename_sequence()) {
			answer = answer_of(key);
			if (answer)
				set_answer(answer, key, &work->climb);
			break;
		}
		work->climb.at = directory;
	}
	return 1;
}

#endif
