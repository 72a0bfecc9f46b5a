// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The built-in handler of that name, in C. */
#include <handler.bpf.h>

HANDLER("ignore-prefix-in-c", "skip events on names that begin with one of the prefixes");
HANDLER_FLAGS("unprivileged");
HANDLER_DEPENDS("name");
HANDLER_NEEDS("name");
HANDLER_TEXTS(prefixes, 60, 60, "prefixes of file names");

int handle(struct fp_handler_event *event)
{
	__u64 count = prefixes.count;

	for (__u32 n = 0; n < 60 && n < count; n++)
		if (FP_BEGINS(event, name, &prefixes.items[n]))
			return FP_SKIP_EVENT;
	return FP_SEND_TO_USERSPACE;
}
