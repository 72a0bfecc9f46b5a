// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The RFC's first sample, in C: what is asked about below the roots is denied. */
#include <handler.bpf.h>

HANDLER("monitor-subtree-in-c", "send events below the roots, and deny operations there");
HANDLER_DEPENDS("directory");
HANDLER_ROOTS(roots, 16, "directories or files");

#define FAN_ALL_PERM 0x170000

int handle(struct fp_handler_event *event)
{
	int is_inside = fp_lies_in(event, &roots.slot);

	if (is_inside < 0)
		return FP_SEND_TO_USERSPACE;
	if (!is_inside)
		return FP_SKIP_EVENT;
	return event->mask & FAN_ALL_PERM ? -EPERM : FP_SEND_TO_USERSPACE;
}
