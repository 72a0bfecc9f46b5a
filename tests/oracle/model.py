"""A random program under watch: its events, folded, and how the picture differs from the tree."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from fanotify_fastpath import Event, Mask
from mounting import Mounter
from scenarios.conftest import Stage
from scenarios.support import Other

from . import program
from .fold import Picture
from .program import OPERATIONS, Operation, Player, Setting

#: programs that failed once
SEEDS = Path(__file__).with_name("seeds.json")
FILESYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs", "overlayfs")
#: overlayfs: handles do not tell the inode, so the two renames of an exchange cannot be told from overwriting
UNSUPPORTED = {"overlayfs": {"exchange", "whiteout", "tmpfile"}}
Script = list[Operation]


@dataclass(frozen=True)
class Case:
    """
    A program, where it is run and how it is watched.

    :ivar filesystem: kind of the filesystem
    :ivar how: as in :class:`Stage`
    :ivar seed: the program
    :ivar n_operations: of each process
    :ivar n_processes: that run it together
    """

    filesystem: str
    how: str
    seed: int
    n_operations: int
    n_processes: int

    @property
    def mask(self) -> Mask:
        """What is watched."""
        return Mask.ALL_CHANGES if self.seed % 2 else Mask.CREATE | Mask.DELETE | Mask.RENAME

    def scripts(self) -> list[Script]:
        """What each process does."""
        known = tuple(name for name in OPERATIONS if name not in UNSUPPORTED.get(self.filesystem, ()))
        setting = Setting(self.seed, self.n_operations, known)
        return [Player(setting, who).script() for who in range(self.n_processes)]

    def save(self) -> None:
        """Keep it, for replay."""
        kept = saved()
        if self not in kept:
            lines = [json.dumps(asdict(case)) for case in [*kept, self]]
            SEEDS.write_text("[\n" + ",\n".join(f" {line}" for line in lines) + "\n]\n")


def saved() -> list[Case]:
    """The programs that failed once."""
    return [Case(**entry) for entry in json.loads(SEEDS.read_text())]


@dataclass(frozen=True)
class Outcome:
    """
    What was heard of a program.

    :ivar events: all events
    :ivar picture: what they tell of the tree
    """

    events: list[Event]
    picture: Picture

    @property
    def differences(self) -> list[str]:
        """How the picture differs from the tree."""
        return self.picture.differences()


def watch(stage: Stage, mounts: Mounter, mask: Mask, scripts: list[Script], players: list[Other]) -> Outcome:
    """
    Have the scripts run together, and fold the events meanwhile.

    :param players: a process for each script
    """
    inside, outside = stage.dirs("inside", "outside")
    places = {b"inside": inside, b"outside": outside, b"alias": mounts.bind(inside)}
    tops = {name: os.fsencode(path) for name, path in places.items()}
    outcome = Outcome([], Picture(os.fsencode(inside)))
    ears = stage.watch(inside, mask)

    def take(batch: list[Event]) -> None:
        for event in batch:
            outcome.picture.fold(event)
        outcome.events.extend(batch)

    for script, player in zip(scripts, players, strict=True):
        player.start(program.perform, program.located(script, tops))
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(lambda: [player.finish() for player in players])
        while not ended.done():
            take(ears.group.read(1000, 0.01))
    ended.result()
    take(ears.hear(inside))
    outcome.picture.finish()
    return outcome
