"""
S17: a storm of which the truth is known.

Directories travel: *outer* ones between the root and outside, *inner* ones between the outer ones. Writers hold each
inner directory open and make chains of directories with a file at the end, wherever it is just then. Shared memory says
where each one is: its word is even while it rests, with the number of its moves, and odd while it is being renamed. A
writer reads the words before and after each operation: when they are equal and even, the place is known for certain;
else both are possible. The kernel queues an event before the system call returns, so the order of the events is the
order of the words.
"""

import mmap
import os
import random
import time
from dataclasses import dataclass

STOP = 0
_SHIFT = 8


@dataclass(frozen=True)
class Plan:
    """
    What every process of a storm is told.

    :ivar words: file of the shared words: stop flag, outer directories, inner directories
    :ivar inside: directory that is watched
    :ivar outside: directory beside it
    :ivar plain_names: outer directories from this number on keep their name in each move; the others carry its number
    """

    words: str
    inside: str
    outside: str
    n_outer: int = 8
    n_inner: int = 24
    plain_names: int = 7
    pause_s: float = 0.002  # of those who rename, after each time

    def outer_name(self, n: int, moves: int) -> str:
        return f"outer{n}" if n >= self.plain_names else f"outer{n}-{moves}"

    def outer_path(self, n: int, moves: int) -> str:
        return f"{self.inside if moves % 2 else self.outside}/{self.outer_name(n, moves)}"


@dataclass(frozen=True)
class Made:
    """
    One file that a writer created.

    :ivar name: its name, which no other file ever had
    :ivar inner: number of the inner directory
    :ivar below: path of its directory relative to the inner one
    :ivar before: words before: of the inner directory and of the outer one that it was in
    :ivar after: words after
    :ivar boot_ns: when it was about to be created
    """

    name: str
    inner: int
    below: str
    before: tuple[int, int]
    after: tuple[int, int]
    boot_ns: int

    @property
    def is_certain(self) -> bool:
        """Tell whether the place is known."""
        return self.before == self.after and not self.before[0] >> _SHIFT & 1 and not self.before[1] & 1

    def may_be_at(self, plan: Plan, path: str) -> bool:
        """Tell whether it may have been made there; when its place is certain, only one path will do."""
        below = f"/{self.below}/{self.name}"
        if self.is_certain:
            return path == self.place(plan)
        # which outer directory an inner one goes to, and where that one stood, is not recorded
        moves = {self.before[0] >> _SHIFT >> 1, ((self.after[0] >> _SHIFT) + 1) >> 1}
        between = range(min(moves), max(moves) + 1)
        return any(path.endswith(f"/inner{self.inner}-{n}{below}") for n in between)

    def is_doubtful(self, plan: Plan) -> bool:
        """Tell whether the kernel may have merged renames above it: those of a directory that keeps its name."""
        return not self.is_certain or self.before[0] & (1 << _SHIFT) - 1 >= plan.plain_names

    def place(self, plan: Plan) -> str:
        """The path at which it was made, if that is certain."""
        inner_word, outer_word = self.before
        outer = inner_word & (1 << _SHIFT) - 1
        inner = f"inner{self.inner}-{inner_word >> _SHIFT >> 1}"
        return f"{plan.outer_path(outer, outer_word // 2)}/{inner}/{self.below}/{self.name}"


class Words:
    """The shared words."""

    def __init__(self, plan: Plan) -> None:
        fd = os.open(plan.words, os.O_RDWR)
        self._map = mmap.mmap(fd, 8 * (1 + plan.n_outer + plan.n_inner))
        os.close(fd)
        self.words = memoryview(self._map).cast("Q")
        self._inner = 1 + plan.n_outer

    @property
    def is_stopped(self) -> bool:
        return bool(self.words[STOP])

    def outer(self, n: int) -> int:
        return self.words[1 + n]

    def place(self, inner: int) -> tuple[int, int]:
        """The words of an inner directory and of the outer one that it is in."""
        while True:
            word = self.words[self._inner + inner]
            outer = self.words[1 + (word & (1 << _SHIFT) - 1)]
            if word == self.words[self._inner + inner]:
                return word, outer

    def set_outer(self, n: int, word: int) -> None:
        self.words[1 + n] = word

    def set_inner(self, n: int, seq: int, outer: int) -> None:
        self.words[self._inner + n] = seq << _SHIFT | outer

    def stop(self) -> None:
        self.words[STOP] = 1

    def close(self) -> None:
        self.words.release()
        self._map.close()


def prepare(plan: Plan) -> None:
    """Make the directories: all outer ones outside, the inner ones spread over them."""
    with open(plan.words, "wb") as file:
        file.truncate(8 * (1 + plan.n_outer + plan.n_inner))
    words = Words(plan)
    for n in range(plan.n_outer):
        os.mkdir(plan.outer_path(n, 0))
    for n in range(plan.n_inner):
        os.makedirs(f"{plan.outer_path(n % plan.n_outer, 0)}/inner{n}-0/lasting")
        words.set_inner(n, 0, n % plan.n_outer)
    words.close()


def move_outer(plan: Plan, mine: list[int], seed: int) -> int:
    """Rename one's own outer directories across the border until stopped. Returns the number of moves."""
    words, rng, n_moves = Words(plan), random.Random(seed), 0
    while not words.is_stopped:
        n = rng.choice(mine)
        moves = words.outer(n) // 2
        words.set_outer(n, moves * 2 + 1)
        os.rename(plan.outer_path(n, moves), plan.outer_path(n, moves + 1))
        words.set_outer(n, (moves + 1) * 2)
        n_moves += 1
        time.sleep(plan.pause_s)
    words.close()
    return n_moves


def move_inner(plan: Plan, links: str, seed: int) -> int:
    """
    Rename inner directories from one outer one to another until stopped. Returns the number of moves.

    While it moves, the word names the old outer directory with an odd number: an event then is ambiguous.
    """
    words, rng, n_moves = Words(plan), random.Random(seed), 0
    fds = open_links(f"{links}/outer")
    while not words.is_stopped:
        n, target = rng.randrange(plan.n_inner), rng.randrange(plan.n_outer)
        word, _ = words.place(n)
        seq, source = word >> _SHIFT, word & (1 << _SHIFT) - 1
        words.set_inner(n, seq + 1, source)
        old, new = f"inner{n}-{seq // 2}", f"inner{n}-{seq // 2 + 1}"
        os.rename(old, new, src_dir_fd=fds[source], dst_dir_fd=fds[target])
        words.set_inner(n, seq + 2, target)
        n_moves += 1
        time.sleep(plan.pause_s)
    for fd in fds:
        os.close(fd)
    words.close()
    return n_moves


def write_files(plan: Plan, links: str, who: int, n_operations: int, seed: int) -> tuple[list[Made], int]:
    """
    Make chains of directories and files in the inner directories, and remove some again.

    :return: the files made, and the number of operations done
    """
    os.nice(10)  # a mover that is kept waiting between its two words makes everything ambiguous
    words, rng = Words(plan), random.Random(seed)
    fds = open_links(f"{links}/inner")
    made: list[Made] = []
    n_done = 0
    while n_done < n_operations:
        inner = rng.randrange(plan.n_inner)
        make = _chain if rng.random() < 0.6 else _burst
        n_done += make(words, rng, fds[inner], inner, f"w{who}-{len(made)}", made)
    for fd in fds:
        os.close(fd)
    words.close()
    return made, n_done


def _chain(words: Words, rng: random.Random, top: int, inner: int, label: str, made: list[Made]) -> int:
    """mkdir -p, a file or two in the last, perhaps a rename of the first, perhaps rm -r. Returns operations."""
    names = [f"c{label}", *"abc"[: rng.randrange(4)]]
    fds, n_done = [top], 0
    for name in names:
        os.mkdir(name, dir_fd=fds[-1])
        fds.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fds[-1]))
        n_done += 1
    files: list[str] = []
    for _ in range(rng.randrange(1, 3)):
        files.append(_create(words, fds[-1], inner, "/".join(names), f"f{label}-{len(files)}", made))
        n_done += 1
    if rng.random() < 0.3:
        os.rename(names[0], names[0] + "r", src_dir_fd=top, dst_dir_fd=top)
        names[0] += "r"
        files.append(_create(words, fds[-1], inner, "/".join(names), f"f{label}-{len(files)}", made))
        n_done += 2
    if rng.random() < 0.9:
        for file in files:
            os.unlink(file, dir_fd=fds[-1])
        for name, fd in zip(reversed(names), reversed(fds[:-1]), strict=True):
            os.rmdir(name, dir_fd=fd)
        n_done += len(files) + len(names)
    for fd in fds[1:]:
        os.close(fd)
    return n_done


def _burst(words: Words, rng: random.Random, top: int, inner: int, label: str, made: list[Made]) -> int:
    """Files that come and go in a directory that lasts, and so may be remembered. Returns operations."""
    fd = os.open("lasting", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
    n_files = rng.randrange(1, 5)
    for n in range(n_files):
        os.unlink(_create(words, fd, inner, "lasting", f"f{label}-{n}", made), dir_fd=fd)
    os.close(fd)
    return 2 * n_files


def _create(words: Words, fd: int, inner: int, below: str, name: str, made: list[Made]) -> str:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    before = words.place(inner)
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=fd))
    made.append(Made(name, inner, below, before, words.place(inner), now))
    return name


def hold_open(plan: Plan, links: str) -> None:
    """
    Open the directories before they travel, and make links by which other processes find them wherever they are.

    They stay open as long as this process lives.

    :param links: a new directory for the links
    """
    outer = [plan.outer_path(n, 0) for n in range(plan.n_outer)]
    inner = [f"{outer[n % plan.n_outer]}/inner{n}-0" for n in range(plan.n_inner)]
    for kind, paths in (("outer", outer), ("inner", inner)):
        os.makedirs(f"{links}/{kind}")
        for n, path in enumerate(paths):
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
            os.symlink(f"/proc/{os.getpid()}/fd/{fd}", f"{links}/{kind}/{n:04d}")


def open_links(directory: str) -> list[int]:
    """Open what :func:`hold_open` holds open, in order."""
    names = sorted(os.listdir(directory))
    return [os.open(f"{directory}/{name}", os.O_RDONLY | os.O_DIRECTORY) for name in names]


def make_chains(top: str, who: int, n_chains: int) -> None:
    """``mkdir -p a/b/c/d/e && touch a/b/c/d/e/f``, each time below a directory of its own."""
    for n in range(n_chains):
        path = f"{top}/{who}-{n}/a/b/c/d/e"
        os.makedirs(path)
        os.close(os.open(path + "/f", os.O_WRONLY | os.O_CREAT, 0o644))
