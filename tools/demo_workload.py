"""
The workload of ``make run``: what a build does to a source tree, in each of two directories, and moves between them.

    usage: demo_workload.py ARCHIVE INSIDE OUTSIDE

Prints the seconds that it took. The work is done by programs of its own, because a group does not report what its own
process does, and events tell the program.
"""

import subprocess
import sys
import time
from pathlib import Path

_N_MOVED = 10
_WORDS = ("NotImplementedError", "deprecated", "lambda", "OSError", "__slots__")


def run(*command: str | Path, statuses: tuple[int, ...] = (0,)) -> None:
    """Run a program; end with an error if it fails."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL)
    if done.returncode not in statuses:
        raise SystemExit(f"{command[0]} ended with status {done.returncode}")


def search(directory: Path, *words: str) -> None:
    """Read all sources once for each word."""
    for word in words:
        run("grep", "-rl", "--include=*.py", word, directory, statuses=(0, 1))


def build(archive: str, place: Path) -> Path:
    """Unpack the sources, byte-compile them, search them."""
    library = place / "lib"
    library.mkdir()
    run("tar", "-xf", archive, "-C", library)
    run(sys.executable, "-m", "compileall", "-q", library)
    search(library, *_WORDS)
    return library


def exchange(library: Path, other: Path) -> None:
    """Rename directories to the other side, search them there, and take them back."""
    packages = sorted(path for path in library.iterdir() if path.is_dir() and path.name != "__pycache__")[:_N_MOVED]
    for package in packages:
        moved = other / f"visiting-{package.name}"
        run("mv", package, moved)
        search(moved, _WORDS[0])
        run("mv", moved, package)


def main(archive: str, inside: str, outside: str) -> None:
    """Do it all and print how long it took."""
    started = time.perf_counter()
    here, there = build(archive, Path(inside)), build(archive, Path(outside))
    exchange(here, there)
    exchange(there, here)
    run("rm", "-r", here)
    run("rm", "-r", there)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
