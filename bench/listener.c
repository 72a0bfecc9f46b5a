// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
// Plain fanotify, as the manual page shows it: one filesystem mark, everything is read; nothing is done with it but
// counting. Prints "ready", and at the end of its input the counts of events with CREATE, with DELETE, of overflows and
// of all. The second argument: "all" event types, "changes" only, or "latency": the name of each file made is printed.
// With a third one all event types are ignored in each directory below it: the least that a filesystem mark costs there.
#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#define CHANGES (FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
#define EVERYTHING (CHANGES | FAN_OPEN | FAN_ACCESS | FAN_CLOSE_NOWRITE | FAN_OPEN_EXEC)

static long n_created, n_deleted, n_overflows, n_events;
static int group;

static const char *name_of(const struct fanotify_event_metadata *event)
{
	const struct fanotify_event_info_fid *info = (const void *)(event + 1);
	const struct file_handle *handle = (const void *)info->handle;

	if (event->event_len <= sizeof(*event) || info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME)
		return "";
	return (const char *)handle->f_handle + handle->handle_bytes;
}

static void take(const char *buffer, long length, int tells_names)
{
	const struct fanotify_event_metadata *event = (const void *)buffer;

	for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
		n_events++;
		n_created += !!(event->mask & FAN_CREATE);
		n_deleted += !!(event->mask & FAN_DELETE);
		n_overflows += !!(event->mask & FAN_Q_OVERFLOW);
		if (tells_names && event->mask & FAN_CREATE) {
			printf("%s\n", name_of(event));
			fflush(stdout);
		}
	}
}

static int ignore(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status, (void)place;
	return type == FTW_D && fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_IGNORE_SURV | FAN_MARK_EVICTABLE,
					      EVERYTHING | FAN_EVENT_ON_CHILD, AT_FDCWD, path);
}

int main(int argc, char **argv)
{
	static char buffer[1 << 18] __attribute__((aligned(8)));
	int is_telling = argc > 2 && !strcmp(argv[2], "latency");
	unsigned long long mask = argc > 2 && strcmp(argv[2], "all") ? CHANGES : EVERYTHING;
	int fd = group = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY);
	struct pollfd ready[] = { { fd, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };

	if (argc < 2 || fd < 0 ||
	    fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask | FAN_ONDIR, AT_FDCWD, argv[1]) ||
	    (argc > 3 && nftw(argv[3], ignore, 16, FTW_PHYS))) {
		perror("listener");
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	while (poll(ready, 2, -1) > 0) {
		long length = ready[0].revents ? read(fd, buffer, sizeof(buffer)) : 0;

		if (length > 0)
			take(buffer, length, is_telling);
		else if (ready[1].revents)
			break;
	}
	printf("counts %ld %ld %ld %ld\n", n_created, n_deleted, n_overflows, n_events);
	return 0;
}
