/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Groups that are held for others: what is put into such a ring is what its reader could have found out by itself.
 *
 * At the end of the way of a record, where it would be put into the ring, it is made anew for the reader: as far as the
 * reader's user may list and search every directory from where it happened up to a root that the reader has named, and
 * with paths that begin there. For that the tree is climbed once more, for each such group: rights are not remembered.
 */
#ifndef VIEWING_BPF_H
#define VIEWING_BPF_H

#include "climb.bpf.h"
#include "rights.bpf.h"

#define FS_DELETE_SELF 0x00000400
/* a file's names are not for those to know who have named the file only */
#define FS_NAMES 0x100001c0
#define FS_EVENTS 0x1000ffff
#define FP_UNKNOWN_ID 0xffffffff

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FP_N_VIEW_ROOTS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fp_view_key);
	__type(value, struct fp_view_root);
} view_roots SEC(".maps");

/* by slot: one more than the number that it has in the process for which its group is held */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FP_N_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} view_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FP_N_GROUPS);
	__type(key, __u32);
	__type(value, struct fp_view_counters);
} view_counters SEC(".maps");

const struct fp_view *export_view SEC(".export") = 0;
const struct fp_view_counters *export_view_counters SEC(".export") = 0;
const enum fp_view_limit *export_view_limit SEC(".export") = 0;
const enum fp_view_flag *export_view_flag SEC(".export") = 0;
const enum fp_view_root_flag *export_view_root_flag SEC(".export") = 0;
const enum fp_shown_flag *export_shown_flag SEC(".export") = 0;

/* a climb from where something happened to the nearest object that the reader has named */
struct sight {
	const void *at;
	/* that of "at": what is read from here is a number for the verifier, and no pointer */
	volatile __u64 inode;
	struct fp_view_root root;
	__u32 group;
	__u32 dev;
	/* where the path begins, how far it may go, and where it ends */
	__u32 begin;
	__u32 limit;
	__u32 end;
	/* enum fp_flag and enum fp_shown_flag */
	__u32 flags;
	/* the first one is the object itself: its name lies in the next one */
	bool is_self;
	bool is_shown;
	bool is_unsure;
};

/* slots, of which each becomes a number of the reader */
struct numbering {
	struct fp_slots numbers;
	__u64 bits;
	__u32 first;
	__u32 group;
	__u32 types;
	/* some of them want such an event */
	bool is_wanted;
};

/* where a record is put together for its reader, as in struct workspace */
struct showing {
	char paths[FP_PATHS];
	struct fp_event event;
	char beyond[FP_PATHS];
	struct sight sight;
	/* not on the stack, of which little is left */
	struct fp_view_key key;
	struct numbering numbering;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct showing);
} showings SEC(".maps");

static __always_inline struct showing *showing_of(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&showings, &zero);
}

/* The object in showing->key.object: has the reader named it? */
static __always_inline struct fp_view_root *named(struct showing *showing)
{
	showing->key.group = showing->sight.group;
	showing->key.reserved = 0;
	return bpf_map_lookup_elem(&view_roots, &showing->key);
}

/* As put_name(). */
static __always_inline void put_shown_name(struct showing *showing, __u32 len, const void *name)
{
	struct sight *sight = &showing->sight;
	__u32 begin = sight->begin;

	if (len > 255 || begin < sight->limit + len + 1) {
		sight->flags |= FP_TRUNCATED;
		sight->limit = FP_PATHS;
		return;
	}
	begin -= len;
	if (begin >= FP_PATHS)
		return;
	bpf_probe_read_kernel(&showing->paths[begin], len, name);
	begin--;
	if (begin >= FP_PATHS)
		return;
	showing->paths[begin] = '/';
	sight->begin = begin;
}

/* one step; called by bpf_loop, which ends when this returns 1 */
static long sight_step(__u32 n, struct showing **at)
{
	struct showing *showing = *at;
	struct sight *sight = &showing->sight;
	struct dentry *dentry = fp_as(dentry, sight->at);
	const void *parent = fp_get(dentry, d_parent);
	const void *inode = fp_get(dentry, d_inode);
	struct fp_view_root *root;
	int right;

	if (!inode)
		return 1;
	if (!sight->is_self) {
		sight->inode = (__u64)inode;
		right = may_use(sight->inode, sight->group);
		if (right != RIGHT_YES) {
			sight->is_unsure = right == RIGHT_UNSURE;
			return 1;
		}
		key_of(&showing->key.object, fp_as(inode, inode), sight->dev);
		root = named(showing);
		if (root) {
			sight->root = *root;
			sight->is_shown = true;
			return 1;
		}
	}
	sight->is_self = false;
	if (parent == sight->at)
		return 1;
	if (sight->limit < FP_PATHS)
		put_shown_name(showing, fp_get(dentry, d_name.len), fp_get(dentry, d_name.name));
	sight->at = parent;
	return 0;
}

/* How is one side of the event at hand seen? Its path stands at sight.begin then, if it is shown. */
static __always_inline void look_at_side(struct showing *showing, const void *directory, const void *name)
{
	struct sight *sight = &showing->sight;

	sight->at = directory;
	sight->begin = sight->end;
	sight->limit = sight->end > FP_PATH_MAX ? sight->end - FP_PATH_MAX : 0;
	sight->flags = 0;
	sight->root.number = 0;
	sight->root.flags = 0;
	sight->is_self = !name;
	sight->is_shown = false;
	sight->is_unsure = false;
	if (name)
		put_shown_name(showing, fp_get(fp_as(qstr, name), len), fp_get(fp_as(qstr, name), name));
	bpf_loop(FP_CLIMB_MAX, sight_step, &showing, 0);
	if (sight->flags & FP_TRUNCATED)
		sight->root.number = 0;
}

static __always_inline void hide_slots(struct fp_slots *some)
{
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		some->words[w] = 0;
}

/* one slot becomes a number of the reader; called by bpf_loop */
static long number_step(__u32 n, struct showing **at)
{
	struct numbering *numbering = &(*at)->numbering;
	__u64 bits = numbering->bits;
	__u32 slot = (numbering->first + lowest_bit(bits)) & (FP_N_SLOTS - 1), number;
	const struct fp_slot *owned = &tables.slots[slot];
	const __u32 *found = bpf_map_lookup_elem(&view_slots, &slot);

	numbering->bits = bits & (bits - 1);
	if (found && *found && owned->group == numbering->group) {
		number = *found - 1;
		numbering->numbers.words[number / 64 & (FP_SLOT_WORDS - 1)] |= 1ull << (number & 63);
		if (owned->mask & numbering->types & ~FS_ISDIR)
			numbering->is_wanted = true;
	}
	return !numbering->bits;
}

/* Put the reader's numbers into the place of slots. Returns true if one of them wants the event. */
__noinline int number_slots(struct fp_slots *some, __u32 group, __u32 types)
{
	const struct fp_view *view = bpf_map_lookup_elem(&views, &group);
	struct showing *showing = showing_of();
	struct numbering *numbering;

	if (!view || !some || !showing)
		return false;
	numbering = &showing->numbering;
	numbering->group = group;
	numbering->types = types;
	numbering->is_wanted = false;
	hide_slots(&numbering->numbers);
	for (int w = 0; w < FP_SLOT_WORDS; w++) {
		numbering->bits = some->words[w] & view->slots.words[w];
		numbering->first = w * 64;
		if (numbering->bits)
			bpf_loop(64, number_step, &showing, 0);
	}
	*some = numbering->numbers;
	return numbering->is_wanted;
}

/*
 * What the reader has named itself, and cannot get at by its name: all but that name is told. Returns an enum right.
 */
__noinline int show_by_itself(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct showing *showing = showing_of();
	const struct incident *incident;
	struct fp_view_root *root;
	struct fp_event *event;
	int right = RIGHT_YES;

	if (!work || !showing)
		return RIGHT_NO;
	incident = &work->incident;
	event = &showing->event;
	showing->key.object = incident->key;
	root = named(showing);
	if (!root)
		return RIGHT_NO;
	if (!(event->mask & FS_ISDIR)) {
		__u32 gone = fp_get(fp_as(inode, incident->inode), i_nlink) ? 0 : FS_DELETE;

		event->mask &= ~(FS_NAMES | FS_DELETE) | gone;
	}
	if (!(event->mask & (FS_DELETE | FS_DELETE_SELF)))
		right = may_use((__u64)incident->inode, showing->sight.group);
	if (!(event->mask & FS_EVENTS))
		return RIGHT_NO;
	event->mount_id = root->number;
	event->reserved = incident->old_directory ? root->number : 0;
	event->flags = root->flags & FP_OF_MARK ? FP_PATH_OF_MARK | FP_OLD_PATH_OF_MARK : 0;
	return right;
}

/* Returns an enum right. */
static __always_inline int show_named(struct showing *showing)
{
	int right = show_by_itself();

	number_slots(&showing->event.inside, showing->sight.group, showing->event.mask);
	number_slots(&showing->event.old_inside, showing->sight.group, showing->event.mask);
	return right;
}

static __always_inline void take_side(struct showing *showing, bool is_old)
{
	struct sight *sight = &showing->sight;
	struct fp_event *event = &showing->event;
	__u32 len = sight->end - sight->begin;

	event->flags |= sight->flags;
	if (sight->root.flags & FP_OF_MARK)
		event->flags |= is_old ? FP_OLD_PATH_OF_MARK : FP_PATH_OF_MARK;
	if (is_old) {
		event->reserved = sight->root.number;
		event->old_path_len = len;
	} else {
		event->mount_id = sight->root.number;
		event->path_len = len;
	}
	sight->end = sight->begin;
}

/* Returns an enum right. */
static __always_inline int show_places(struct showing *showing, const struct workspace *work)
{
	struct fp_event *event = &showing->event;
	struct sight *sight = &showing->sight;
	bool is_new_shown, is_old_shown = false, is_rename = work->incident.old_directory, is_wanted, is_of_mark;
	bool is_unsure;

	sight->end = FP_PATHS;
	event->flags = 0;
	event->path_len = 0;
	event->old_path_len = 0;
	look_at_side(showing, work->incident.directory, work->incident.name);
	is_new_shown = sight->is_shown;
	is_unsure = sight->is_unsure;
	is_of_mark = is_new_shown && sight->root.flags & FP_OF_MARK;
	if (is_new_shown)
		take_side(showing, false);
	if (is_rename) {
		look_at_side(showing, work->incident.old_directory, work->incident.old_name);
		is_old_shown = sight->is_shown;
		is_unsure |= sight->is_unsure;
		is_of_mark |= is_old_shown && sight->root.flags & FP_OF_MARK;
		if (is_old_shown)
			take_side(showing, true);
	}
	if (!is_new_shown && !is_old_shown) {
		int right = show_named(showing);

		return right == RIGHT_YES || !is_unsure ? right : RIGHT_UNSURE;
	}
	if (!is_new_shown)
		hide_slots(&event->inside);
	if (!is_old_shown)
		hide_slots(&event->old_inside);
	is_wanted = number_slots(&event->inside, sight->group, event->mask);
	is_wanted |= number_slots(&event->old_inside, sight->group, event->mask);
	/* with one side only, it may be one that the reader does not watch */
	return !is_rename || (is_new_shown && is_old_shown) || is_wanted || is_of_mark;
}

/* Returns an enum right. */
static __always_inline int show_file_event(struct showing *showing, const struct workspace *work)
{
	const struct fp_event *told = &work->event;
	int right = RIGHT_UNSURE;

	if (!work->incident.directory)
		return show_named(showing);
	/* without it nobody notices that a rename has led the climb astray */
	if (!&rename_lock)
		return RIGHT_UNSURE;
	for (int n = 0; n < FP_TRIES; n++) {
		__u32 sequence = rename_sequence();

		showing->event.mask = told->mask;
		showing->event.inside = told->inside;
		showing->event.old_inside = told->old_inside;
		showing->event.mount_id = 0;
		showing->event.reserved = 0;
		right = show_places(showing, work);
		if (!(sequence & 1) && sequence == rename_sequence())
			return right;
	}
	return RIGHT_UNSURE;
}

/* A root or a filesystem is gone. Returns an enum right. */
__noinline int show_end(void)
{
	struct showing *showing = showing_of();
	struct fp_view_root *root;
	struct fp_event *event;

	if (!showing)
		return RIGHT_NO;
	event = &showing->event;
	showing->key.object.inode = event->inode;
	showing->key.object.dev = event->dev;
	showing->key.object.generation = event->generation;

	event->mask = 0;
	event->flags = 0;
	event->path_len = 0;
	event->old_path_len = 0;
	hide_slots(&event->inside);
	hide_slots(&event->old_inside);
	event->inode = 0;
	event->generation = 0;
	if (event->kind != FP_ROOT_GONE)
		return RIGHT_YES;
	event->dev = 0;
	root = named(showing);
	if (!root || root->flags & FP_OF_MARK)
		return RIGHT_NO;
	event->mount_id = root->number;
	/* what is made later may have the same number, and was not named */
	bpf_map_delete_elem(&view_roots, &showing->key);
	return RIGHT_YES;
}

static __always_inline void hide_process(struct fp_event *event)
{
	event->tgid = 0;
	event->tid = 0;
	event->uid = FP_UNKNOWN_ID;
	__builtin_memset(event->comm, 0, sizeof(event->comm));
}

/* Make the record at hand anew, for the reader of its group. Returns an enum right; if it is yes, it is to be sent. */
__noinline int show_record(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct showing *showing = showing_of();
	const struct fp_view *view;
	struct fp_event *event;
	__u32 group;

	if (!work || !showing)
		return RIGHT_NO;
	group = work->handing.group;
	view = bpf_map_lookup_elem(&views, &group);
	if (!view)
		return RIGHT_NO;
	event = &showing->event;
	*event = work->event;
	showing->sight.group = group;
	showing->sight.dev = event->dev;
	showing->sight.begin = FP_PATHS;
	showing->sight.end = FP_PATHS;
	event->mount_id = 0;
	event->reserved = 0;
	event->path_len = 0;
	event->old_path_len = 0;
	event->cgroup_id = 0;
	event->epoch = 0;
	event->gid = FP_UNKNOWN_ID;
	event->mode = 0;
	event->chain = 0;
	event->n_passed = 0;
	if (event->tgid && event->tgid == view->tgid && !(view->flags & FP_SEES_SELF) && event->kind == FP_EVENT)
		return RIGHT_NO;
	if (!(view->flags & FP_SEES_TID))
		event->tid = 0;
	if (event->kind != FP_EVENT || view->flags & FP_SEES_NO_PROCESSES ||
	    (event->uid != view->uid && !(view->flags & FP_SEES_ALL)))
		hide_process(event);
	if (event->kind != FP_EVENT)
		return show_end();
	if (event->flags & FP_UNDECIDED) {
		hide_slots(&event->inside);
		hide_slots(&event->old_inside);
		event->flags = FP_UNDECIDED;
		event->generation = 0;
		return view->flags & FP_SEES_ALL ? RIGHT_YES : RIGHT_UNSURE;
	}
	event->generation = 0;
	return show_file_event(showing, work);
}

/* The record is not for this reader: as if it had not come so far. */
static __always_inline long withhold(struct workspace *work, int right)
{
	__u32 group = work->handing.group;
	struct fp_view_counters *counters = bpf_map_lookup_elem(&view_counters, &group);

	if (counters) {
		__sync_fetch_and_add(&counters->n_withheld, 1);
		if (right == RIGHT_UNSURE)
			__sync_fetch_and_add(&counters->n_unsure, 1);
	}
	/* send() takes it for sent */
	__sync_fetch_and_add(&tables.groups[work->handing.group & (FP_N_GROUPS - 1)].n_sent, -1);
	work->sent.mask = 0;
	return 0;
}

/* In the place of bpf_ringbuf_output(). */
static __always_inline long put_out_shown(void *ring, struct workspace *work, __u64 begin, __u64 size)
{
	__u32 group = work->handing.group;
	const struct fp_view *view = bpf_map_lookup_elem(&views, &group);
	struct showing *showing = showing_of();
	int right;

	if (!view || !showing)
		return -1;
	if (!(view->flags & FP_VIEWED))
		return bpf_ringbuf_output(ring, &work->paths[begin], size, 0);
	right = show_record();
	if (right != RIGHT_YES)
		return withhold(work, right);
	begin = showing->sight.end & ~7u;
	size = FP_PATHS + sizeof(struct fp_event) - begin;
	barrier_var(begin);
	barrier_var(size);
	if (begin > FP_PATHS || size > FP_PATHS + sizeof(struct fp_event))
		return -1;
	return bpf_ringbuf_output(ring, &showing->paths[begin], size, 0);
}

#endif
