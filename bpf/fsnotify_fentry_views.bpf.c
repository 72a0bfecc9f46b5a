// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* As fsnotify_fentry.bpf.c, for a process that holds groups for others. */
#include "vmlinux_min.h"
#include "compat.bpf.h"
#include "views.bpf.h"
#include "inspect.bpf.h"

SEC("fentry/fsnotify")
int on_fsnotify(unsigned long long *ctx)
{
	__u64 data = 0;

	/* the verifier lets a program read no pointer to void from its context */
	bpf_get_func_arg(ctx, 1, &data);
	dispatch(ctx, ctx[0], (const void *)data, ctx[2], (const struct inode *)ctx[3], (const void *)ctx[4],
		 (const struct inode *)ctx[5]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
