/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a handler in C begins with. It says who it is, what it is given and what it remembers, and defines handle():
 *
 *	#include <handler.bpf.h>
 *
 *	HANDLER("ignore-large", "skip events on files over a size");
 *	HANDLER_NEEDS("object");
 *	HANDLER_INTEGER(limit, "bytes");
 *
 *	int handle(struct fp_handler_event *event)
 *	{
 *		if (event->known & FP_OBJECT && (__s64)event->size > limit.value)
 *			return FP_SKIP_EVENT;
 *		return FP_SEND_TO_USERSPACE;
 *	}
 *
 * What it is shown and may answer is in handler.h, what it can declare in handler_lines.bpf.h, and what helps it with names,
 * roots and what it remembers in handler_help.bpf.h. Everything that handle() calls is to be static and __always_inline.
 */
#ifndef HANDLER_BPF_H
#define HANDLER_BPF_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#include <linux/errno.h>
#include <stdbool.h>
#endif
#include <bpf/bpf_helpers.h>
#include "handler_event.bpf.h"

#ifdef HANDLE_IS_LINKED
extern int handle(struct fp_handler_event *event);
#else
static __always_inline int handle(struct fp_handler_event *event);
#include "handler_lines.bpf.h"
#include "handler_help.bpf.h"
#endif

static __always_inline int decide(void)
{
	__u32 key = 0;
	struct fp_handler_event *event = bpf_map_lookup_elem(&handled, &key);

	if (event)
		event->verdict = handle(event);
	return 0;
}

/* as the dispatcher is attached, so are what it calls; which one is wanted is said before the load */
SEC("fentry/fsnotify")
int handle_fentry(void *ctx)
{
	return decide();
}

SEC("kprobe/fsnotify")
int handle_kprobe(void *ctx)
{
	return decide();
}

/* for BPF_PROG_RUN */
SEC("raw_tp/sys_enter")
int handle_run(void *ctx)
{
	return decide();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
