"""Which types of BPF program this kernel loads, attaches and runs: what the engine in the kernel can build on."""

import os
import platform
import subprocess
import tomllib
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from mounting import Mounter

from .libbpf import Failed, attached

HERE = Path(__file__).parent
KERNELS = tomllib.loads((HERE.parent / "kernels.toml").read_text())
#: the kernel's own, which C libraries have no name for
ENOTSUPP = 524


def compiled(section: str, to: Path) -> Path:
    """Compile the probe as a program of a type."""
    path = to / "probe.bpf.o"
    headers = f"/usr/include/{platform.machine()}-linux-gnu"
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-target", "bpf", "-isystem", headers]
    subprocess.run(["clang", *flags, f'-DSECTION="{section}"', "-c", HERE / "probe.bpf.c", "-o", path], check=True)
    return path


def own_runs(section: str, to: Path, where: Path) -> int:
    """How often a program of that type runs while this process makes a file in a marked directory."""
    with attached(compiled(section, to), "runs") as program, fan.Group() as group:
        group.mark(where, fan.Mask.CREATE | fan.Mask.EVENT_ON_CHILD, scope=fan.Scope.INODE)
        (where / "file").touch()
        tgids = [int.from_bytes(record, "little") for record in program.records()]
    return tgids.count(os.getpid())


@pytest.mark.parametrize("section", ["kprobe/fsnotify", "lsm/file_open"])
def test_a_program_is_loaded_attached_and_run(tmp_path: Path, mounts: Mounter, section: str) -> None:
    assert own_runs(section, tmp_path, mounts.make("tmpfs")) > 0


def test_a_trampoline_on_fsnotify_is_possible_where_the_list_of_kernels_says_so(
    tmp_path: Path, mounts: Mounter
) -> None:
    if KERNELS[os.environ["FP_VM_KERNEL"]]["fentry_fsnotify"]:
        assert own_runs("fentry/fsnotify", tmp_path, mounts.make("tmpfs")) > 0
        return
    with pytest.raises(Failed) as caught:
        own_runs("fentry/fsnotify", tmp_path, mounts.make("tmpfs"))
    assert (caught.value.call, caught.value.number) == ("attach", ENOTSUPP)
