// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Counts the calls of fsnotify() that one process causes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 counted_tgid = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

SEC("kprobe/fsnotify")
int count_calls(void *ctx)
{
	__u32 zero = 0;
	__u64 *n_calls = bpf_map_lookup_elem(&calls, &zero);

	if (n_calls && bpf_get_current_pid_tgid() >> 32 == counted_tgid)
		__sync_fetch_and_add(n_calls, 1);
	return 0;
}
