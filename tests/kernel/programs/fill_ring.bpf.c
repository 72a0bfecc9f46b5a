// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Fills a ring with numbered records of different lengths, some of them discarded, and counts what finds no room.
 *
 * Which numbers are discarded or carry an old path, and how long paths are, follows from the number: see filling.py. The
 * paths are the number again and again, so that a torn record shows.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "fp_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 min_path = 16;
/* path lengths are min_path + number * 37 % spread: from 8 to less than MAX_PATHS */
const volatile __u32 spread = 400;
/* every so manieth number is discarded; 0: none */
const volatile __u32 discard_every = 7;

#define MAX_PATHS 1024

/* twice as long as used, because the verifier adds the highest offset to the highest length */
struct scratch {
	__u64 paths[MAX_PATHS / 8];
	struct fp_event event;
	char unused[MAX_PATHS + sizeof(struct fp_event)];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* of all that this program ever tried */
__u64 n_dropped;

struct job {
	__u64 number;
	__u64 step;
	__u64 producer;
	__u64 n_written;
};

static void discard(void)
{
	__u64 *reserved = bpf_ringbuf_reserve(&ring, 40, 0);

	if (!reserved)
		return;
	*reserved = ~0ull;
	bpf_ringbuf_discard(reserved, 0);
}

static long write_one(__u32 i, struct job *job)
{
	__u32 zero = 0, paths, start;
	__u64 number = job->number;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (!scratch)
		return 1;
	job->number += job->step;
	if (discard_every && number % discard_every == 0) {
		discard();
		return 0;
	}
	paths = (min_path + number * 37 % spread) & (MAX_PATHS - 1);
	start = MAX_PATHS - paths;
	scratch->event.n_dropped = n_dropped;
	scratch->event.inode = number;
	scratch->event.boot_ns = number * 3;
	scratch->event.tgid = job->producer;
	scratch->event.mask = number;
	scratch->event.version = FP_VERSION;
	scratch->event.kind = FP_EVENT;
	scratch->event.old_path_len = number % 5 ? 0 : 8;
	scratch->event.path_len = paths - scratch->event.old_path_len;
	for (__u32 at = MAX_PATHS / 8; at > start / 8; at--)
		scratch->paths[(at - 1) & (MAX_PATHS / 8 - 1)] = number;
	if (bpf_ringbuf_output(&ring, (char *)scratch + start, paths + sizeof(struct fp_event), 0) == 0)
		job->n_written++;
	else
		__sync_fetch_and_add(&n_dropped, 1);
	return 0;
}

/* arguments: the first number, the step to the next, how many, who; returns how many were written */
SEC("raw_tp")
int fill(__u64 *ctx)
{
	struct job job = { .number = ctx[0], .step = ctx[1], .producer = ctx[3] };

	bpf_loop(ctx[2], write_one, &job, 0);
	return job.n_written;
}
