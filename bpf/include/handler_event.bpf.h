/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The event that is being decided: the dispatcher's programs and those of handlers have this map in common. */
#ifndef HANDLER_EVENT_BPF_H
#define HANDLER_EVENT_BPF_H

#include "handler.h"

/* one for each CPU */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fp_handler_event);
} handled SEC(".maps");

#endif
