/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* An event that somebody may want: decide exactly, and put its record together. */
#ifndef DELIVER_BPF_H
#define DELIVER_BPF_H

#include "climb.bpf.h"
#include "handing.bpf.h"
#include "namespace.bpf.h"

static __always_inline bool is_single(__u64 bits)
{
	return !(bits & (bits - 1));
}

struct choice {
	__u64 bits;
	__u64 chosen;
	__u32 first;
	__u32 mask;
};

/* does the owner of this slot want events of this type? called by bpf_loop */
static long choose_step(__u32 n, struct choice *choice)
{
	__u64 bits = choice->bits;
	struct fp_slot *slot;
	__u32 wanted;

	choice->bits = bits & (bits - 1);
	slot = &tables.slots[(choice->first + lowest_bit(bits)) & (FP_N_SLOTS - 1)];
	wanted = slot->mask & choice->mask;
	if ((wanted & ~FS_ISDIR) && (wanted & FS_ISDIR) == (choice->mask & FS_ISDIR))
		choice->chosen |= bits & -bits;
	return !choice->bits;
}

/* Leave of some slots those whose owners want such events. */
__noinline int choose(struct fp_slots *some, __u32 mask)
{
	if (!some)
		return 0;
	for (int w = 0; w < FP_SLOT_WORDS; w++) {
		struct choice choice = {.bits = some->words[w], .first = w * 64, .mask = mask};

		if (!choice.bits)
			continue;
		if (is_single(choice.bits))
			choose_step(0, &choice);
		else
			bpf_loop(64, choose_step, &choice, 0);
		some->words[w] = choice.chosen;
	}
	return is_any(some);
}

static __always_inline void fill_in(struct fp_event *event, const struct incident *incident, __u32 kind)
{
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	const struct cred *cred = fp_as(cred, fp_get(task, cred));

	event->boot_ns = bpf_ktime_get_boot_ns();
	event->inode = incident->key.inode;
	event->dev = incident->key.dev;
	event->generation = incident->key.generation;
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->epoch = incident->superblock_epoch;
	tell_numbers(event, task);
	event->uid = fp_get(cred, euid.val);
	event->gid = fp_get(cred, egid.val);
	event->mount_id = incident->mount_id;
	event->version = FP_VERSION;
	event->kind = kind;
	event->flags = 0;
	event->mode = incident->inode ? fp_get(fp_as(inode, incident->inode), i_mode) : 0;
	event->path_len = 0;
	event->old_path_len = 0;
	/* padded with zeros, which bpf_get_current_comm() would do once more */
	fp_copy16(event->comm, (const void *)task + bpf_core_field_offset(struct task_struct, comm));
}

/* a name of an object, and of a directory the only one; NULL if it has none now */
static __always_inline const void *dentry_of(const struct inode *inode)
{
	struct hlist_node *alias = fp_get(inode, i_dentry.first);

	return alias ? (const void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias) : 0;
}

/* put down what is known of the object before its directory is climbed from: its name, and whether it is a root */
static __always_inline void climb_by_name(struct workspace *work, const void *directory, const void *name)
{
	begin_climb(&work->climb, directory);
	if (!name)
		return;
	if (work->incident.may_be_root) {
		struct fp_root *root = bpf_map_lookup_elem(&roots, &work->incident.key);

		if (root) {
			work->climb.has_met_object = true;
			if (work->climb.counts_depth)
				note_nearest(work, root);
			meet_root(&work->climb, root);
		}
	}
	work->climb.n_steps = 1;
	put_name(work, fp_get(fp_as(qstr, name), len), fp_get(fp_as(qstr, name), name));
}

/* Tell one side of what happened: the new one, or what there is; or a rename's old one. */
__noinline int survey_side(__u32 number, bool is_old)
{
	struct workspace *work = workspace_of(number);

	if (!work)
		return 0;
	if (is_old)
		climb_by_name(work, work->incident.old_directory, work->incident.old_name);
	else
		climb_by_name(work, work->incident.directory, work->incident.name);
	work->climb.directory_end = work->climb.begin;
	if (!climb_up(number))
		work->climb.flags |= FP_UNDECIDED | FP_TRUNCATED;
	return 0;
}

static __always_inline void begin_survey(struct workspace *work)
{
	work->climb.flags = 0;
	work->climb.begin = FP_PATHS;
	work->climb.limit = FP_PATHS - FP_PATH_MAX;
	work->climb.counts_depth = tables.settings.is_depth_needed;
	work->n_nearest = 0;
}

static __always_inline void survey(struct workspace *work)
{
	struct climb *climb = &work->climb;
	struct fp_event *event = &work->event;

	begin_survey(work);
	if (!work->incident.directory) {
		event->inside = work->incident.wanted;
		return;
	}
	survey_side(FOR_DISPATCH, false);
	event->inside = climb->inside;
	event->path_len = FP_PATHS - climb->begin;
	if (work->incident.old_directory) {
		__u32 begin = climb->begin;

		climb->limit = begin > FP_PATH_MAX ? begin - FP_PATH_MAX : 0;
		climb->counts_depth = false;
		survey_side(FOR_DISPATCH, true);
		event->old_path_len = begin - climb->begin;
		event->old_inside = climb->inside;
	}
}

/* Tell it by what is known of the directory. Returns false if that is not known, or no longer true. */
static __always_inline bool survey_by_place(struct workspace *work, const struct place *place, __u32 sequence)
{
	struct climb *climb = &work->climb;
	struct incident *incident = &work->incident;
	__u32 len = place->path_len;
	__u32 begin;

	if (place->sequence != sequence || len > FP_PLACE_BYTES ||
	    !is_valid(&place->answer, &incident->directory_key, incident->superblock_epoch, incident->settings_epoch))
		return false;
	begin_survey(work);
	climb_by_name(work, 0, incident->name);
	add_answer(climb, &place->answer);
	begin = climb->begin - len;
	if (climb->flags || begin > FP_PATHS)
		return false;
	bpf_probe_read_kernel(&work->paths[begin], len, place->path);
	climb->begin = begin;
	work->event.inside = climb->inside;
	work->event.path_len = FP_PATHS - begin;
	return sequence == rename_sequence();
}

/* Keep what was found out about the directory of an event. */
static __always_inline void keep_place(struct workspace *work, struct place *place, __u32 sequence)
{
	struct climb *climb = &work->climb;
	__u32 begin = climb->begin;
	__u32 len = climb->directory_end - begin;

	/* unless the object is a root itself, it lies in what its directory lies in */
	if (climb->flags || climb->has_met_object || len > FP_PLACE_BYTES || begin > FP_PATHS)
		return;
	bpf_probe_read_kernel(place->path, len, &work->paths[begin]);
	place->path_len = len;
	place->sequence = sequence;
	set_answer(&place->answer, &work->incident.directory_key, climb);
}

/* Look closer at an event that somebody may want: where it was, exactly. */
__noinline int look_closer(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct place *place = 0;
	__u32 sequence;

	if (!work)
		return 0;
	/* what is kept of a place does not tell how deep it lies */
	if (work->incident.directory && !work->incident.old_directory && !tables.settings.is_depth_needed)
		place = place_of(&work->incident.directory_key);
	sequence = rename_sequence();
	if (place && !(sequence & 1) && survey_by_place(work, place, sequence))
		return 0;
	for (int n = 0; n < FP_TRIES; n++) {
		sequence = rename_sequence();
		survey(work);
		if (!(sequence & 1) && sequence == rename_sequence()) {
			if (place)
				keep_place(work, place, sequence);
			return 0;
		}
	}
	work->climb.flags |= FP_TORN;
	return 0;
}

/* Put together what is told of an event, and begin to hand it to those who want it. Returns false if nobody does. */
__noinline int deliver(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct incident *incident;
	struct fp_slots wanted;

	if (!work)
		return false;
	incident = &work->incident;
	wanted = incident->wanted;
	if (!choose(&wanted, incident->mask))
		return false;
	work->climb.dev = incident->key.dev;
	work->climb.superblock_epoch = incident->superblock_epoch;
	work->climb.settings_epoch = incident->settings_epoch;
	work->climb.may_ask_answers = false;
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		work->event.old_inside.words[w] = 0;
	fill_in(&work->event, incident, FP_EVENT);
	look_closer();
	work->event.flags = work->climb.flags;
	if (!(work->climb.flags & FP_UNDECIDED)) {
		struct fp_superblock *superblock = &tables.superblocks[incident->superblock & (FP_N_SUPERBLOCKS - 1)];

		for (int w = 0; w < FP_SLOT_WORDS; w++)
			wanted.words[w] &= work->event.inside.words[w] | work->event.old_inside.words[w] |
					   ~superblock->subtrees.words[w];
	}
	begin_handing(work, &wanted, incident->mask, work->climb.begin);
	return true;
}

/* Begin to tell the owners of these slots of something other than an event. Returns false if that cannot be. */
__noinline int tell(const struct fp_slots *whom, __u32 kind)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);

	if (!work || !whom)
		return false;
	fill_in(&work->event, &work->incident, kind);
	work->event.inside = *whom;
	work->event.old_inside = *whom;
	begin_handing(work, whom, work->incident.mask, FP_PATHS);
	return true;
}

#endif
