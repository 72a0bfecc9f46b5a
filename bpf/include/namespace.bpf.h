/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The numbers of processes and threads as the listener sees them, which may be in a namespace of its own. */
#ifndef NAMESPACE_BPF_H
#define NAMESPACE_BPF_H

#include "tables.bpf.h"

/* the number of a process or thread at that depth of namespaces, and which namespace it is there */
static __always_inline int number_at(const struct pid *pid, __u32 level, __u32 *namespace)
{
	struct upid upid = {};

	*namespace = 0;
	if (!pid || fp_get(fp_as(pid, pid), level) < level)
		return 0;
	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (const void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid));
	*namespace = fp_get(fp_as(pid_namespace, upid.ns), ns.inum);
	return upid.nr;
}

/* As pid_nr_ns() in kernel/pid.c: 0 for what the listener cannot see. */
static __always_inline int number_for_listener(const struct pid *pid)
{
	__u32 namespace;
	int number = number_at(pid, tables.settings.pid_level, &namespace);

	return namespace == tables.settings.pid_namespace ? number : 0;
}

static __always_inline void tell_numbers(struct fp_event *event, const struct task_struct *task)
{
	__u64 ids = bpf_get_current_pid_tgid();

	event->tgid = ids >> 32;
	event->tid = ids;
	if (!tables.settings.pid_level)
		return;
	event->tid = number_for_listener(fp_get(fp_as(task_struct, task), thread_pid));
	task = fp_get(fp_as(task_struct, task), group_leader);
	event->tgid = number_for_listener(fp_get(fp_as(task_struct, task), thread_pid));
}

#endif
