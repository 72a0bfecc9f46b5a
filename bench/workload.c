// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
// The workloads of the benchmark. Each prints one line: nanoseconds that it took, nanoseconds of
// CPU time, and the number of operations.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WHOLE_BYTES 16384
#define N_DIRS 200
#define N_FILES 20
#define PATH_BYTES 512
#define N_DEEP_FILES 16

static char *dirs[N_DIRS];
static long long start_ns, cpu_start_ns;

static void die(const char *what)
{
	fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

// What was done before is not in the figures
static void start_clocks(void)
{
	start_ns = monotonic_ns();
	cpu_start_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void sleep_until_ns(long long when)
{
	struct timespec at = { when / 1000000000LL, when % 1000000000LL };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void make_dir(const char *path)
{
	if (mkdir(path, 0755) && errno != EEXIST)
		die(path);
}

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, "12345678", 8) != 8 || close(fd))
		die(path);
}

static void make_whole_file(const char *path)
{
	static const char text[WHOLE_BYTES];
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, sizeof(text)) != sizeof(text) || close(fd))
		die(path);
}

// 200 directories at depth 3 to 6 below top: top/00/d/e/f/leaf
static void name_dirs(const char *top)
{
	static const char *const middle[] = { "a", "a/b", "a/b/c", "a/b/c/d" };

	for (int i = 0; i < N_DIRS; i++)
		if (asprintf(&dirs[i], "%s/%02d/%s/%d", top, i % 40, middle[i % 4], i) < 0)
			die(top);
}

static void make_tree(const char *top)
{
	char path[PATH_BYTES];

	for (int i = 0; i < N_DIRS; i++) {
		for (char *p = dirs[i] + strlen(top) + 1; (p = strchr(p, '/')); p++) {
			*p = '\0';
			make_dir(dirs[i]);
			*p = '/';
		}
		make_dir(dirs[i]);
		for (int f = 0; f < N_FILES; f++) {
			snprintf(path, sizeof(path), "%s/f%d", dirs[i], f);
			make_file(path);
		}
		snprintf(path, sizeof(path), "%s/whole", dirs[i]);
		make_whole_file(path);
	}
}

static long read_files(long n_passes)
{
	char path[PATH_BYTES], byte[8];

	for (long pass = 0; pass < n_passes; pass++)
		for (int i = 0; i < N_DIRS * N_FILES; i++) {
			snprintf(path, sizeof(path), "%s/f%d", dirs[i / N_FILES], i % N_FILES);
			int fd = open(path, O_RDONLY | O_CLOEXEC);

			if (fd < 0 || read(fd, byte, sizeof(byte)) < 0 || close(fd))
				die(path);
		}
	return n_passes * N_DIRS * N_FILES;
}

// One file of each directory is opened, read to its end and closed
static long read_whole_files(long n_passes)
{
	static char text[4 * WHOLE_BYTES];
	char path[PATH_BYTES];

	for (long pass = 0; pass < n_passes; pass++)
		for (int i = 0; i < N_DIRS; i++) {
			snprintf(path, sizeof(path), "%s/whole", dirs[i]);
			int fd = open(path, O_RDONLY | O_CLOEXEC);

			if (fd < 0 || read(fd, text, sizeof(text)) != WHOLE_BYTES || read(fd, text, sizeof(text)) || close(fd))
				die(path);
		}
	return n_passes * N_DIRS;
}

// Existing files are opened, overwritten and closed
static long write_files(long n_passes)
{
	char path[PATH_BYTES];

	for (long pass = 0; pass < n_passes; pass++)
		for (int i = 0; i < N_DIRS * N_FILES; i++) {
			snprintf(path, sizeof(path), "%s/f%d", dirs[i / N_FILES], i % N_FILES);
			int fd = open(path, O_WRONLY | O_CLOEXEC);

			if (fd < 0 || write(fd, "87654321", 8) != 8 || close(fd))
				die(path);
		}
	return n_passes * N_DIRS * N_FILES;
}

// For the CPU time of a listener: the same for a given time, and not for a given number of passes
static long read_for(long milliseconds)
{
	long long end = monotonic_ns() + milliseconds * 1000000LL;
	long n = 0;

	while (monotonic_ns() < end)
		n += read_files(1);
	return n;
}

// What editors and builds do: write a new file, rename it over the old one, remove it; now and then a directory
static long churn(long count)
{
	char path[PATH_BYTES], other[PATH_BYTES];

	for (long i = 0; i < count; i++) {
		const char *dir = dirs[i % N_DIRS];

		snprintf(path, sizeof(path), "%s/new%ld", dir, i);
		snprintf(other, sizeof(other), "%s/done%ld", dir, i);
		make_file(path);
		if (rename(path, other) || unlink(other))
			die(other);
		if (i % 10 == 0) {
			make_dir(path);
			if (rmdir(path))
				die(path);
		}
	}
	return count;
}

static long list_dirs(long n_passes)
{
	for (long pass = 0; pass < n_passes; pass++)
		for (int i = 0; i < N_DIRS; i++) {
			DIR *dir = opendir(dirs[i]);

			if (!dir)
				die(dirs[i]);
			while (readdir(dir))
				;
			closedir(dir);
		}
	return n_passes * N_DIRS;
}

static long files(const char *top, long count)
{
	char path[PATH_BYTES];

	for (long i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/f%06ld", top, i);
		make_file(path);
		if (unlink(path))
			die(path);
	}
	return count;
}

static long create(const char *top, long count)
{
	char path[PATH_BYTES];

	for (long i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/f%06ld", top, i);
		make_file(path);
	}
	return count;
}

// A tree of count directories in three levels, up to 100 in each directory
static long make_dirs(const char *top, long count)
{
	char path[PATH_BYTES];
	long n = 0;

	for (long i = 0; n < count; i++) {
		if (i % 10000 == 0) {
			snprintf(path, sizeof(path), "%s/%ld", top, i / 10000);
			make_dir(path);
			n++;
		}
		if (i % 100 == 0 && n < count) {
			snprintf(path, sizeof(path), "%s/%ld/%ld", top, i / 10000, i / 100 % 100);
			make_dir(path);
			n++;
		}
		if (n < count) {
			snprintf(path, sizeof(path), "%s/%ld/%ld/%ld", top, i / 10000, i / 100 % 100, i % 100);
			make_dir(path);
			n++;
		}
	}
	return n;
}

// Files whose names are the time at which they were made, one each interval
static long touch(const char *top, long count, long interval_us)
{
	char path[PATH_BYTES];
	long long next = monotonic_ns();

	for (long i = 0; i < count; i++) {
		next += interval_us * 1000LL;
		sleep_until_ns(next);
		snprintf(path, sizeof(path), "%s/%lld", top, monotonic_ns());
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

		if (fd < 0 || close(fd))
			die(path);
	}
	return count;
}

// Files in top/d/d/...: so many directories below top
static char **deep_files(const char *top, long n_levels, int is_made)
{
	static char *files[N_DEEP_FILES];
	size_t room = strlen(top) + 2 * n_levels + 1;
	char *dir = malloc(room);

	if (!dir)
		die(top);
	strcpy(dir, top);
	for (long level = 0; level < n_levels; level++) {
		strcat(dir, "/d");
		if (is_made)
			make_dir(dir);
	}
	for (int i = 0; i < N_DEEP_FILES; i++)
		if (asprintf(&files[i], "%s/f%02d", dir, i) < 0)
			die(top);
	free(dir);
	return files;
}

static void make_deep(const char *top, long n_levels)
{
	char **files = deep_files(top, n_levels, 1);

	for (int i = 0; i < N_DEEP_FILES; i++)
		make_file(files[i]);
}

static void read_in_turn(char **files, long count)
{
	char bytes[8];

	for (long i = 0; i < count; i++) {
		const char *path = files[i % N_DEEP_FILES];
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, bytes, sizeof(bytes)) < 0 || close(fd))
			die(path);
	}
}

// Nothing but the three system calls is in the figures; a few come first that are not
static long read_deep(const char *top, long n_levels, long count, long n_warm_up)
{
	char **files = deep_files(top, n_levels, 0);

	read_in_turn(files, n_warm_up);
	start_clocks();
	read_in_turn(files, count);
	return count;
}

// A loop of two instructions
static long spin(long count)
{
#ifdef __x86_64__
	long left = count;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(left)::"cc");
#endif
	return count;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *what = argv[1], *top = argv[2];
	long count = argc > 3 ? atol(argv[3]) : 0, n = 0;

	name_dirs(top);
	start_clocks();
	if (!strcmp(what, "tree"))
		make_tree(top);
	else if (!strcmp(what, "read"))
		n = read_files(count);
	else if (!strcmp(what, "read-whole"))
		n = read_whole_files(count);
	else if (!strcmp(what, "write"))
		n = write_files(count);
	else if (!strcmp(what, "read-for"))
		n = read_for(count);
	else if (!strcmp(what, "churn"))
		n = churn(count);
	else if (!strcmp(what, "list"))
		n = list_dirs(count);
	else if (!strcmp(what, "files"))
		n = files(top, count);
	else if (!strcmp(what, "create"))
		n = create(top, count);
	else if (!strcmp(what, "dirs"))
		n = make_dirs(top, count);
	else if (!strcmp(what, "touch"))
		n = touch(top, count, argc > 4 ? atol(argv[4]) : 2000);
	else if (!strcmp(what, "deep"))
		make_deep(top, count);
	else if (!strcmp(what, "read-deep") && argc > 5)
		n = read_deep(top, count, atol(argv[4]), atol(argv[5]));
	else if (!strcmp(what, "spin"))
		n = spin(count);
	else
		return 2;
	printf("%lld %lld %ld\n", monotonic_ns() - start_ns, clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start_ns, n);
	return 0;
}
