/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What is done at each call of fsnotify(): most end after one or two looks into tables.
 */
#ifndef DISPATCH_BPF_H
#define DISPATCH_BPF_H

#include "deliver.bpf.h"

/* event types; the rest of a mask are flags */
#define FS_TYPES 0x1000ffff
/* programs of handlers that are asked about one event at most; the kernel has a limit too (MAX_TAIL_CALL_CNT, 33) */
#define FP_ASKED_MAX 64

static __always_inline void add_slots(struct fp_slots *to, const struct fp_slots *some)
{
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		to->words[w] |= some->words[w];
}

/* Add those who may want what happens in (or to) a directory, and set its key. */
static __always_inline void ask_directory(struct incident *incident, const void *directory, struct fp_key *key,
					  struct fp_counters *counter)
{
	struct inode *inode = fp_as(inode, fp_get(fp_as(dentry, directory), d_inode));
	struct workspace *work;
	struct answer *answer;

	key_of(key, inode, incident->key.dev);
	answer = answer_of(key);
	if (answer && is_valid(answer, key, incident->superblock_epoch, incident->settings_epoch)) {
		counter->n_cached++;
		add_slots(&incident->wanted, &answer->inside);
		return;
	}
	counter->n_walked++;
	work = workspace_of(FOR_DISPATCH);
	if (!work)
		return;
	work->climb.at = directory;
	work->climb.dev = key->dev;
	work->climb.superblock_epoch = incident->superblock_epoch;
	work->climb.settings_epoch = incident->settings_epoch;
	work->climb.may_ask_answers = true;
	work->climb.counts_depth = false;
	work->climb.begin = 0;
	work->climb.limit = 0;
	if (climb_for_answer(FOR_DISPATCH, key))
		add_slots(&incident->wanted, &work->climb.inside);
	else
		add_slots(&incident->wanted, &tables.superblocks[incident->superblock & (FP_N_SUPERBLOCKS - 1)].subtrees);
}

static __always_inline void add_marked(struct incident *incident, const struct fp_key *key)
{
	struct fp_slots *found = bpf_map_lookup_elem(&marked, key);

	if (found)
		add_slots(&incident->wanted, found);
}

/* Add those who have marked the object itself, its directory or its mount. */
static __always_inline void ask_objects(struct incident *incident, __u32 flags)
{
	struct fp_root *root;
	struct fp_key key;

	if (incident->may_be_root && (incident->name || !incident->directory)) {
		root = bpf_map_lookup_elem(&roots, &incident->key);
		if (root)
			add_slots(&incident->wanted, &root->include);
	}
	if (flags & FP_HAS_OBJECT_MARKS) {
		add_marked(incident, &incident->key);
		if (incident->directory) {
			key = incident->directory_key;
			key.dev |= FP_ON_CHILD;
			add_marked(incident, &key);
		}
	}
	if (flags & FP_HAS_MOUNT_MARKS && incident->mount_id) {
		key.inode = incident->mount_id;
		key.dev = 0;
		key.generation = 0;
		add_marked(incident, &key);
	}
}

/*
 * Is this the last notice of what a rename has put something else in the place of? Of that only the change of its link
 * count is told; it has lost its name by then, which an unlink takes away later.
 */
static __always_inline bool is_overwritten(const struct incident *incident)
{
	struct dentry *dentry = fp_as(dentry, incident->dentry);
	struct inode *inode = fp_as(inode, incident->inode);

	return !fp_get(inode, i_nlink) && (!incident->dentry || !fp_get(dentry, d_hash.pprev));
}

/* A root that is gone, a filesystem that is gone. Returns true if there is something to be handed out. */
__noinline int tell_ends(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct fp_superblock *superblock;
	struct incident *incident;
	struct fp_root *root;
	struct fp_slots whom;
	__u32 mask;

	if (!work)
		return false;
	incident = &work->incident;
	mask = incident->mask;
	superblock = &tables.superblocks[incident->superblock & (FP_N_SUPERBLOCKS - 1)];
	if (mask & FS_UNMOUNT) {
		superblock->mask = 0;
		whom = superblock->subtrees;
		for (int w = 0; w < FP_SLOT_WORDS; w++)
			whom.words[w] |= superblock->whole.words[w];
		return tell(&whom, FP_UNMOUNT);
	}
	/* some filesystems keep no generation: the next directory with this number is another one */
	if (mask & FS_DELETE && mask & FS_ISDIR && !incident->key.generation)
		__sync_fetch_and_add(&superblock->epoch, 1);
	if (mask & FS_DELETE && !(mask & FS_ISDIR) && fp_get(fp_as(inode, incident->inode), i_nlink))
		return false;
	if (mask & FS_ATTRIB && !is_overwritten(incident))
		return false;
	root = bpf_map_lookup_elem(&roots, &incident->key);
	if (!root)
		return false;
	whom = root->include;
	/* what is made later may have the same number, and is no root */
	bpf_map_delete_elem(&roots, &incident->key);
	return tell(&whom, FP_ROOT_GONE);
}

/* Find out what it happened to, and in which directory. */
static __always_inline void locate(struct incident *incident, const void *data, __u32 data_type, const struct inode *dir,
				   const void *name, const struct inode *inode)
{
	incident->dentry = 0;
	incident->directory = 0;
	incident->name = 0;
	incident->old_directory = 0;
	incident->mount_id = 0;
	if (data_type == FP_DATA_PATH) {
		struct path *path = fp_as(path, data);
		const void *mount = (const void *)fp_get(path, mnt) - bpf_core_field_offset(struct mount, mnt);

		incident->dentry = fp_get(path, dentry);
		incident->mount_id = fp_get(fp_as(mount, mount), mnt_id);
	} else if (data_type == FP_DATA_DENTRY) {
		incident->dentry = data;
	} else if (data_type == FP_DATA_INODE) {
		inode = data;
	} else {
		inode = 0;
	}
	if (incident->dentry) {
		struct dentry *dentry = fp_as(dentry, incident->dentry);

		inode = fp_get(dentry, d_inode);
		incident->directory = dentry;
		if (!(incident->mask & FS_ISDIR)) {
			const void *parent = fp_get(dentry, d_parent);

			/* what is not connected has no name */
			if (parent != incident->dentry) {
				incident->directory = parent;
				incident->name = incident->dentry + bpf_core_field_offset(struct dentry, d_name);
			}
		}
		if (incident->mask & FS_RENAME && dir) {
			incident->old_directory = dentry_of(fp_as(inode, dir));
			incident->old_name = name;
		}
	} else if (dir && name) {
		incident->directory = dentry_of(fp_as(inode, dir));
		incident->name = name;
	}
	incident->inode = inode;
}

/* Run the program of an attachment. Without one, or after too many, it comes back with the verdict as it was. */
static __noinline int ask_program(void *ctx, __u32 attachment)
{
	int result = 0;

	bpf_tail_call(ctx, &handlers, attachment);
	barrier_var(result);
	return result;
}

/* Hand out what is ready, and have handlers asked in between. */
static __always_inline void hand_out(void *ctx)
{
	struct workspace *work;
	int attachment = -1;

	for (int n = 0; n < FP_ASKED_MAX; n++) {
		attachment = hand_on();
		if (attachment < 0 || ask_program(ctx, attachment))
			return;
	}
	work = workspace_of(FOR_DISPATCH);
	if (work)
		work->handing.gives_up = true;
	hand_on();
}

static __always_inline void dispatch(void *ctx, __u32 mask, const void *data, __u32 data_type, const struct inode *dir,
				     const void *name, const struct inode *inode)
{
	const struct inode *any = fp_as(inode, inode ? inode : dir);
	__u32 dev = fp_get(fp_as(super_block, fp_get(any, i_sb)), s_dev);
	__u32 place = find_superblock(dev);
	struct fp_superblock *superblock;
	struct fp_counters *counter;
	struct incident *incident;
	struct workspace *work;
	struct fp_key old_key;
	__u32 zero = 0;
	__u32 flags;
	bool ends;

	if (place >= FP_N_SUPERBLOCKS)
		return;
	superblock = &tables.superblocks[place];
	if (!(superblock->mask & mask & FS_TYPES))
		return;
	counter = bpf_map_lookup_elem(&counters, &zero);
	work = workspace_of(FOR_DISPATCH);
	if (!counter || !work)
		return;
	incident = &work->incident;
	counter->n_seen++;
	if ((mask & (FS_RENAME | FS_ISDIR)) == (FS_RENAME | FS_ISDIR))
		__sync_fetch_and_add(&superblock->epoch, 1);
	incident->superblock = place;
	incident->mask = mask & (FS_TYPES | FS_ISDIR);
	incident->wanted = superblock->whole;
	incident->superblock_epoch = superblock->epoch;
	incident->settings_epoch = tables.settings.epoch;
	locate(incident, data, data_type, dir, name, inode);
	if (!incident->inode)
		return;
	key_of(&incident->key, fp_as(inode, incident->inode), dev);
	if (incident->directory)
		ask_directory(incident, incident->directory, &incident->directory_key, counter);
	if (incident->old_directory)
		ask_directory(incident, incident->old_directory, &old_key, counter);
	flags = superblock->flags;
	incident->may_be_root = mask & FS_ISDIR || flags & FP_HAS_FILE_ROOTS;
	if (flags || incident->may_be_root)
		ask_objects(incident, flags);
	ends = mask & (FS_DELETE | FS_UNMOUNT) || (mask & FS_ATTRIB && !incident->directory);
	/* known by its inode only: any of its names will do */
	if (!incident->directory) {
		incident->directory = incident->dentry = dentry_of(fp_as(inode, incident->inode));
		incident->directory_key = incident->key;
	}
	if (is_any(&incident->wanted) && deliver())
		hand_out(ctx);
	/* no handler is asked about it */
	if (ends && tell_ends())
		hand_on();
}

#endif
