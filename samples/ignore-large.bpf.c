// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* A handler in C: nothing about files over a size, except below some names. */
#include <handler.bpf.h>

HANDLER("ignore-large", "skip events on files over a size, unless their names begin in given ways");
HANDLER_NEEDS("object name");
HANDLER_INTEGER(limit, "bytes");
HANDLER_TEXTS(prefixes, 16, 60, "of names that are told nevertheless");
HANDLER_COUNTER(n_large);

int handle(struct fp_handler_event *event)
{
	if (!(event->known & FP_OBJECT) || (__s64)event->size <= limit.value)
		return FP_SEND_TO_USERSPACE;
	for (__u32 n = 0; n < 16 && n < prefixes.count; n++)
		if (FP_BEGINS(event, name, &prefixes.items[n]))
			return FP_SEND_TO_USERSPACE;
	fp_count(&n_large, 1);
	return FP_SKIP_EVENT;
}
