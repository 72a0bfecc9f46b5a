// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Writes into a ring the records of files made, opened, written and closed: three for each file, in 16 directories.
 *
 * Run on demand with the number of records that are to be there; it returns how many found room.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "fp_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define CREATE 0x100
#define OPEN 0x20
#define CLOSE_WRITE 0x8
#define N_DIGITS 7

struct record {
	char path[32];
	struct fp_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct record);
} records SEC(".maps");

static long write_one(__u32 i, __u64 *n_written)
{
	__u32 zero = 0, file = i / 3, rest = file, which = i % 3;
	struct record *record = bpf_map_lookup_elem(&records, &zero);

	if (!record)
		return 1;
	__builtin_memcpy(record->path, "/inside/ring-a/some-file-0000000", sizeof(record->path));
	record->path[13] += file & 15;
	for (int digit = 0; digit < N_DIGITS; digit++, rest /= 10)
		record->path[sizeof(record->path) - 1 - digit] += rest % 10;
	record->event.boot_ns = bpf_ktime_get_boot_ns();
	record->event.inode = 1000 + file;
	record->event.dev = 7 << 20;
	record->event.mask = which == 0 ? CREATE : which == 1 ? OPEN : CLOSE_WRITE;
	record->event.tgid = record->event.tid = 4711;
	record->event.mount_id = 30;
	record->event.version = FP_VERSION;
	record->event.kind = FP_EVENT;
	record->event.path_len = sizeof(record->path);
	__builtin_memcpy(record->event.comm, "workload", 9);
	if (bpf_ringbuf_output(&ring, record, sizeof(*record), 0) == 0)
		++*n_written;
	return 0;
}

SEC("raw_tp")
int write_records(__u64 *ctx)
{
	__u64 n_written = 0;

	bpf_loop(ctx[0], write_one, &n_written, 0);
	return n_written;
}
