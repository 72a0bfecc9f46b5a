/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * A record is handed to one group after the other. Where a group has handlers with programs of their own, hand_on() returns
 * the number of the one to be asked, and is called again when that has answered: only the main program may ask, because a
 * tail call needs its context, and a shallow stack.
 */
#ifndef HANDING_BPF_H
#define HANDING_BPF_H

#include "merge.bpf.h"
#include "shown.bpf.h"

/* programs of attachments, by number */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, FP_N_ATTACHMENTS);
	__type(key, __u32);
	__type(value, __u32);
} handlers SEC(".maps");

enum step {
	STEP_ASK,
	STEP_SEND,
	STEP_SKIP,
};

/* in the place of an attachment: the event is to be sent, or a handler skips it */
enum { NOBODY_TO_ASK = -1, SKIPPED = -2 };

/*
 * What is compared must be what is used, not a copy of it: Linux 6.1 cannot tell. So this is a function of its own, in which
 * nothing else needs a register.
 */
static __noinline long put_out(void *ring, struct workspace *work, __u64 begin, __u64 size)
{
	barrier_var(begin);
	barrier_var(size);
	if (begin > FP_PATHS || size > FP_PATHS + sizeof(struct fp_event))
		return -1;
	return bpf_ringbuf_output(ring, &work->paths[begin], size, 0);
}

static __always_inline bool lies_in(const struct fp_event *event, __u32 slot)
{
	__u32 word = slot / 64 & (FP_SLOT_WORDS - 1);

	return (event->inside.words[word] | event->old_inside.words[word]) >> (slot & 63) & 1;
}

static __always_inline struct fp_group *group_of(const struct handing *handing)
{
	return &tables.groups[handing->group & (FP_N_GROUPS - 1)];
}

static __always_inline bool has_links(const struct handing *handing)
{
	return group_of(handing)->chains[handing->chain & 1].n_links;
}

/* Have the next handler's program see the event. */
static __always_inline void prepare(struct handing *handing, const struct fp_chain *chain)
{
	struct fp_handler_event *event;
	__u32 missing = (chain->needs | FP_SHOWN) & ~handing->filled;

	if (missing)
		show(missing, chain);
	event = shown_event();
	if (!event)
		return;
	event->mask = handing->types;
	event->verdict = FP_UNASKED;
	handing->is_asking = true;
}

/* What the handler that was asked has answered. */
static __always_inline enum step take_verdict(struct workspace *work, struct fp_group *group, struct fp_attachment *attachment)
{
	struct fp_handler_event *event = shown_event();
	struct handing *handing = &work->handing;
	__s32 verdict = event ? event->verdict : FP_UNASKED;

	handing->is_asking = false;
	if (verdict == FP_UNASKED)
		return STEP_SEND;
	__sync_fetch_and_add(&attachment->n_seen, 1);
	handing->link++;
	if (verdict == FP_SKIP_EVENT) {
		__sync_fetch_and_add(&attachment->n_skipped, 1);
		__sync_fetch_and_add(&group->n_skipped, 1);
		return STEP_SKIP;
	}
	if (verdict < 0) {
		/* there is nothing to be denied: it ends the chain */
		__sync_fetch_and_add(&attachment->n_denied, 1);
		handing->link = FP_PASSED_ALL;
		return STEP_SEND;
	}
	if (verdict == FP_FAILED) {
		__sync_fetch_and_add(&attachment->n_failed, 1);
		handing->flags |= FP_HANDLER_FAILED;
	}
	return STEP_ASK;
}

/* Go on with the handlers of the group at hand. Returns the attachment whose program is to be asked, or what became of it. */
__noinline int ask_on(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct handing *handing;
	const struct fp_chain *chain;
	struct fp_group *group;
	enum step step = STEP_ASK;

	if (!work)
		return SKIPPED;
	handing = &work->handing;
	group = group_of(handing);
	chain = &group->chains[handing->chain & 1];
	for (int n = 0; n <= FP_N_LINKS; n++) {
		__u32 number = handing->link, link;

		if (number >= chain->n_links || number >= FP_N_LINKS) {
			step = STEP_SEND;
			break;
		}
		link = chain->links[number];
		if (handing->is_asking) {
			step = take_verdict(work, group, &tables.attachments[link & (FP_N_ATTACHMENTS - 1)]);
			if (step != STEP_ASK)
				break;
			continue;
		}
		if (link & FP_LINK_PROGRAM) {
			if (handing->gives_up) {
				step = STEP_SEND;
				break;
			}
			prepare(handing, chain);
			return link & (FP_N_ATTACHMENTS - 1);
		}
		if (!(work->event.flags & FP_UNDECIDED) && !lies_in(&work->event, link)) {
			__sync_fetch_and_add(&group->n_skipped, 1);
			step = STEP_SKIP;
			break;
		}
		handing->link = number + 1;
	}
	return step == STEP_SKIP ? SKIPPED : NOBODY_TO_ASK;
}

/* Send the record to the group at hand. */
__noinline int send(void)
{
	struct workspace *work = workspace_of(FOR_DISPATCH);
	struct sending *sending = 0;
	struct handing *handing;
	struct fp_group *group;
	__u64 position = 0;
	__u32 number;
	void *ring;

	if (!work)
		return 0;
	handing = &work->handing;
	number = handing->group;
	group = group_of(handing);
	ring = bpf_map_lookup_elem(&rings, &number);
	if (!ring)
		return 0;
	if (work->event.kind == FP_EVENT && may_merge(group, handing->types)) {
		describe(&work->sent, work, group, number, handing->types);
		sending = sending_of(&work->sent);
		if (sending && is_waiting(sending, &work->sent, ring)) {
			__sync_fetch_and_add(&group->n_merged, 1);
			return 0;
		}
		position = bpf_ringbuf_query(ring, BPF_RB_PROD_POS);
	}
	work->event.mask = handing->types;
	work->event.flags = handing->flags;
	work->event.chain = handing->chain;
	work->event.n_passed = handing->link;
	work->event.n_dropped = group->n_dropped;
	if (put_out(ring, work, handing->begin, handing->size)) {
		__sync_fetch_and_add(&group->n_dropped, 1);
		return 0;
	}
	if (sending) {
		sending->what = work->sent;
		sending->position = position;
	}
	__sync_fetch_and_add(&group->n_sent, 1);
	if (handing->flags & FP_UNDECIDED)
		__sync_fetch_and_add(&group->n_undecided, 1);
	return 0;
}

/* Begin with the owner of a slot, unless it was served by another slot or wants nothing of this. */
static __always_inline bool begin_group(struct workspace *work, __u32 number)
{
	struct handing *handing = &work->handing;
	const struct fp_slot *slot = &tables.slots[number & (FP_N_SLOTS - 1)];
	__u32 group = slot->group & (FP_N_GROUPS - 1);
	__u32 types = handing->mask;

	if (work->event.kind == FP_EVENT) {
		types &= slot->mask & ~FS_ISDIR;
		if (!types)
			return false;
		types |= handing->mask & FS_ISDIR;
	}
	if (handing->tgid == tables.settings.own_tgid && !(tables.groups[group].flags & FP_INCLUDE_SELF))
		return false;
	if (handing->done[group / 64] >> (group & 63) & 1)
		return false;
	handing->done[group / 64] |= 1ull << (group & 63);
	handing->group = group;
	handing->types = types;
	handing->chain = tables.groups[group].chain;
	handing->link = 0;
	handing->flags = work->event.flags & ~FP_HANDLER_FAILED;
	return true;
}

/* Take the next slot. Returns false if there is none. */
static __always_inline bool next_slot(struct handing *handing, __u32 *number)
{
	__u64 bits = handing->bits;

	while (!bits) {
		__u32 word = handing->next_word;

		if (word >= FP_SLOT_WORDS)
			return false;
		barrier_var(word);
		bits = handing->whom.words[word & (FP_SLOT_WORDS - 1)];
		handing->first = word * 64;
		handing->next_word = word + 1;
	}
	handing->bits = bits & (bits - 1);
	*number = handing->first + lowest_bit(bits);
	return true;
}

struct handout {
	struct workspace *work;
	int attachment;
};

/* serve one slot, or go on with it; called by bpf_loop, which ends when this returns 1 */
static long hand_step(__u32 n, struct handout *handout)
{
	struct workspace *work = handout->work;
	struct handing *handing = &work->handing;
	int attachment = NOBODY_TO_ASK;

	if (!handing->is_asking) {
		__u32 number;

		if (!next_slot(handing, &number))
			return 1;
		if (!begin_group(work, number))
			return 0;
	}
	if (work->event.kind == FP_EVENT && (handing->is_asking || has_links(handing)))
		attachment = ask_on();
	if (attachment >= 0) {
		handout->attachment = attachment;
		return 1;
	}
	if (attachment == NOBODY_TO_ASK)
		send();
	return !handing->bits && handing->next_word >= FP_SLOT_WORDS;
}

/* Go on handing out. Returns the attachment whose program is to be asked now, or -1 when all is done. */
__noinline int hand_on(void)
{
	struct handout handout = {.work = workspace_of(FOR_DISPATCH), .attachment = -1};

	if (!handout.work)
		return -1;
	if (!hand_step(0, &handout))
		bpf_loop(FP_N_SLOTS, hand_step, &handout, 0);
	return handout.attachment;
}

/* Begin to give the record in the workspace to the owners of these slots. */
static __always_inline void begin_handing(struct workspace *work, const struct fp_slots *whom, __u32 mask, __u32 begin)
{
	struct handing *handing = &work->handing;

	handing->whom = *whom;
	handing->bits = whom->words[0];
	handing->first = 0;
	/* all is done when the last word has been taken: so that is the last one that is not empty */
	handing->next_word = whom->words[1] | whom->words[2] | whom->words[3] ? 1 : FP_SLOT_WORDS;
	handing->mask = mask;
	handing->begin = begin & ~7u;
	handing->size = FP_PATHS + sizeof(struct fp_event) - handing->begin;
	handing->tgid = bpf_get_current_pid_tgid() >> 32;
	handing->filled = 0;
	handing->is_asking = false;
	handing->gives_up = false;
	for (int n = 0; n < FP_N_GROUPS / 64; n++)
		handing->done[n] = 0;
}

#endif
