// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* A handler that is given, asks and remembers one of everything. */
#include <handler.bpf.h>

#define MOST_USERS 2

HANDLER("everything", "one of everything");
HANDLER_FLAGS("unprivileged");
HANDLER_NEEDS("name inode dir_inode object user comm exe cgroup depth ancestors place");
HANDLER_DEPENDS("directory name object process");
HANDLER_INTEGER(limit, "largest size that is skipped");
HANDLER_TEXTS(suffixes, 5, 20, "of names");
HANDLER_TEXTS(programs, 2, 255, "paths of executables");
HANDLER_TEXTS(commands, 3, 15, "names of processes");
HANDLER_INTEGERS(users, 3, "user ids");
HANDLER_ROOTS(roots, 8, "where it is denied");
HANDLER_COUNTER(n_asked);
HANDLER_MAP(by_user, MOST_USERS, 1);
HANDLER_LRU_MAP(by_place, 2, 2);

static __always_inline bool has_name(const struct fp_handler_event *event)
{
	for (__u32 n = 0; n < 5 && n < suffixes.count; n++)
		if (FP_ENDS(event, name, &suffixes.items[n]))
			return true;
	return false;
}

static __always_inline bool is_program(const struct fp_handler_event *event)
{
	for (__u32 n = 0; n < 2 && n < programs.count; n++)
		if (FP_EQUALS(event, exe, &programs.items[n]) || FP_ENDS(event, exe, &programs.items[n]))
			return true;
	for (__u32 n = 0; n < 3 && n < commands.count; n++)
		if (FP_EQUALS(event, comm, &commands.items[n]))
			return true;
	return false;
}

int handle(struct fp_handler_event *event)
{
	__u64 sum, user = event->uid, place[2] = {event->dev, event->inode};

	fp_count(&n_asked, 1);
	if (fp_lies_in(event, &roots.slot) == 1)
		return -EPERM;
	if (has_name(event) || is_program(event))
		return FP_SKIP_EVENT;
	if (event->known & FP_INODE && !fp_put(&by_place, place, event->depth))
		return FP_FAILED;
	if (!(event->known & FP_USER))
		return FP_SEND_TO_USERSPACE;
	if (!FP_IS_IN(users, user))
		fp_remove(&by_user, &user);
	else if (!fp_add(&by_user, &user, 1, &sum) || sum != fp_value_of(&by_user, &user, 0))
		return FP_FAILED;
	if (event->known & FP_OBJECT && (__s64)event->size <= limit.value)
		return FP_SKIP_EVENT;
	return FP_SEND_TO_USERSPACE;
}
