// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* As fsnotify_kprobe.bpf.c, for a process that holds groups for others. */
#define FP_PROBE_READ
#include "vmlinux_min.h"
#include "compat.bpf.h"
#include "views.bpf.h"
#include "inspect.bpf.h"

SEC("kprobe/fsnotify")
int on_fsnotify_kp(struct pt_regs *ctx)
{
	dispatch(ctx, ctx->di, (const void *)ctx->si, ctx->dx,
		 (const struct inode *)ctx->cx, (const void *)ctx->r8,
		 (const struct inode *)ctx->r9);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
