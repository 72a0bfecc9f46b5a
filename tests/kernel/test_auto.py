"""Where the kernel engine works, it is what one gets who does not ask for another."""

import pytest

import fanotify_fastpath as fan
from mounting import Mounter

pytestmark = pytest.mark.kernel_engine


def test_a_group_has_the_kernel_engine_by_itself() -> None:
    with fan.Group() as group, fan.Group(engine="fanotify") as other:
        assert (group.engine, other.engine) == ("kernel", "fanotify")
    assert fan.diagnose().chosen == "kernel"


def test_a_guard_takes_it_for_what_fanotify_cannot_deny(mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    with fan.guard(top, deny=fan.Mask.OPEN_PERM) as by_fanotify, fan.guard(top, deny=fan.Mask.UNLINK_PERM) as in_kernel:
        assert (by_fanotify.group.engine, in_kernel.group.engine) == ("fanotify", "kernel")
