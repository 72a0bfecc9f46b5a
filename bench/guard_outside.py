"""
What a guard costs those who do not touch what is guarded: open+read+close of files outside, on the same filesystem.

Prints the median of the interleaved ratios guarded / unguarded, and what one operation takes. Needs root, gcc and
mkfs.ext4; works on a filesystem of its own in a loop file.

    PYTHONPATH=src python bench/guard_outside.py [rounds]
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import fanotify_fastpath as fan

N_DIRECTORIES, N_FILES, N_PASSES = 50, 20, 60
DENY = fan.Mask.OPEN_PERM | fan.Mask.OPEN_EXEC_PERM

WORKLOAD = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n_dirs = atoi(argv[2]), n_files = atoi(argv[3]), n_passes = atoi(argv[4]);
	char path[4096], buffer[64];
	struct timespec start, end;
	double best = 1e18;

	(void)argc;
	for (int pass = -1; pass < n_passes; pass++) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int n = 0; n < n_dirs * n_files; n++) {
			snprintf(path, sizeof(path), "%s/d%d/f%d", argv[1], n % n_dirs, n / n_dirs);
			int fd = open(path, O_RDONLY);
			if (fd < 0 || read(fd, buffer, sizeof(buffer)) < 0)
				return 1;
			close(fd);
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		double ns = (end.tv_sec - start.tv_sec) * 1e9 + end.tv_nsec - start.tv_nsec;
		if (pass >= 0 && ns < best)
			best = ns;
	}
	printf("%.1f\n", best / n_dirs / n_files);
	return 0;
}
"""


@contextmanager
def filesystem(base: str) -> Iterator[str]:
    """A new ext4 in a loop file."""
    image, mountpoint = f"{base}/image", f"{base}/mnt"
    os.mkdir(mountpoint)
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mountpoint], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "-l", mountpoint], check=True)


def make_files(top: str) -> None:
    """The files outside, and one that is guarded."""
    os.mkdir(f"{top}/secret")
    for n in range(N_DIRECTORIES):
        os.mkdir(f"{top}/d{n}")
        for m in range(N_FILES):
            with open(f"{top}/d{n}/f{m}", "wb") as file:
                file.write(b"x" * 64)


def run(program: str, top: str) -> float:
    """Return nanoseconds per open+read+close in the best pass; in an uncounted first one the guard learns."""
    counts = (str(N_DIRECTORIES), str(N_FILES), str(N_PASSES))
    return float(subprocess.run([program, top, *counts], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ratios, free, guarded = [], [], []
    with tempfile.TemporaryDirectory(prefix="guard-bench-") as base, filesystem(base) as top:
        program = f"{base}/workload"
        subprocess.run(["gcc", "-O2", "-x", "c", "-", "-o", program], input=WORKLOAD, text=True, check=True)
        make_files(top)
        run(program, top)
        for _ in range(n_rounds):
            free.append(run(program, top))
            with fan.guard(f"{top}/secret", deny=DENY):
                guarded.append(run(program, top))
            ratios.append(guarded[-1] / free[-1])
    print(
        f"unguarded {statistics.median(free):.0f} ns, guarded {statistics.median(guarded):.0f} ns per open+read+close"
    )
    print(f"ratio {statistics.median(ratios):.3f} (median of {n_rounds}; {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
