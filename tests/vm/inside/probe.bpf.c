// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* A program of any type (SECTION) that says, through a ring buffer, who made it run. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} runs SEC(".maps");

SEC(SECTION)
int on_event(void *ctx)
{
	__u64 *tgid = bpf_ringbuf_reserve(&runs, sizeof(*tgid), 0);

	if (!tgid)
		return 0;
	*tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_submit(tgid, 0);
	return 0;
}
