// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* One program that is accepted, one that is not (with REFUSED), and one that goes through a map. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 factor = 2;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} products SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} runs SEC(".maps");

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	__u32 *key;
	__u64 *value;
} __attribute__((preserve_access_index));

SEC("raw_tp")
int multiply(__u64 *ctx)
{
	__u32 zero = 0, number = ctx[0];
	__u64 product = number * factor;
	__u32 *n_runs = bpf_map_lookup_elem(&runs, &zero);

	if (n_runs)
		++*n_runs;
	bpf_map_update_elem(&products, &number, &product, BPF_ANY);
	return product;
}

SEC("iter/bpf_map_elem")
int write_products(struct bpf_iter__bpf_map_elem *ctx)
{
	static const char line[] = "%u %llu\n";
	__u64 *value = ctx->value;
	__u32 *key = ctx->key;
	__u64 shown[2];

	if (!key || !value)
		return 0;
	shown[0] = *key;
	shown[1] = *value;
	bpf_seq_printf(ctx->meta->seq, line, sizeof(line), shown, sizeof(shown));
	return 0;
}

#ifdef REFUSED
SEC("raw_tp")
int reads_anywhere(__u64 *ctx)
{
	return *(int *)ctx[0];
}
#endif
