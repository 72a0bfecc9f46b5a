// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The shared list of handlers as readable files: what these iterators write when somebody reads
 * where they are pinned. Iterators need no trampoline, so they work on kernels that refuse the
 * other programs.
 */
#include "vmlinux_min.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define N_SEEN 8192

/* user space finds the members by the names that BTF has */
struct listing_settings {
	__u64 lock_inode; /* of the file that every attach has locked */
	__u32 lock_dev;
	__u32 n_bytes; /* of the text, which fills the only value of the map that "text" goes through */
};

const volatile struct listing_settings settings SEC(".rodata.settings") = { .n_bytes = 1 };

/* an open file that was counted; without file, the count. A session is one reading of one reader */
struct seen {
	__u64 session;
	__u64 file;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, N_SEEN);
	__type(key, struct seen);
	__type(value, __u64);
} seen SEC(".maps");

/* attaches since the handler was loaded: user space counts them */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} since_load SEC(".maps");

SEC("iter/bpf_map_elem")
int text(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	void *value = ctx->value;

	if (value)
		bpf_seq_write(seq, value, settings.n_bytes);
	return 0;
}

static void write_stats(struct seq_file *seq, __u64 session)
{
	struct seen key = { .session = session };
	__u64 *now = bpf_map_lookup_elem(&seen, &key);
	__u32 zero = 0;
	__u64 *since = bpf_map_lookup_elem(&since_load, &zero);

	BPF_SEQ_PRINTF(seq, "attachments %llu\nattachments_since_load %llu\n", now ? *now : 0,
		       since ? *since : 0);
}

/* Called for each open file of each process, and without one at the end. */
SEC("iter/task_file")
int stats(struct bpf_iter__task_file *ctx)
{
	struct seen key = { .session = ctx->meta->session_id };
	struct file *file = ctx->file;
	__u64 one = 1, *n;

	if (!ctx->task || !file) {
		write_stats(ctx->meta->seq, key.session);
		return 0;
	}
	if (file->f_inode->i_ino != settings.lock_inode || file->f_inode->i_sb->s_dev != settings.lock_dev)
		return 0;
	key.file = (__u64)file;
	/* processes that were forked share open files */
	if (bpf_map_update_elem(&seen, &key, &one, BPF_NOEXIST))
		return 0;
	key.file = 0;
	n = bpf_map_lookup_elem(&seen, &key);
	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
