// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Every call of fsnotify(), seen by a trampoline. It has seven arguments: Linux 6.6 is the first that can (x86). */
#include "vmlinux_min.h"
#include "compat.bpf.h"
#include "dispatch.bpf.h"
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
