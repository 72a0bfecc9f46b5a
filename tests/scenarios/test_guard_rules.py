"""Who and what is excepted from a guard: users, executables, directories; and what handlers decide."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import fanotify_fastpath as fan
from children import NOBODY_UID
from fanotify_fastpath import Group, Mask, guard
from outcomes import wait_until

from . import actions
from .support import SHORT_S, Other, denied_with, refusal


def test_the_guards_own_process_is_never_refused(top: Path) -> None:
    with guard(top / "in", deny=Mask.OPEN_PERM | Mask.ONDIR, timeout_s=SHORT_S) as guarded:
        assert (top / "in/f").read_bytes() == b"content"
        assert os.listdir(top / "in") != []
        assert guarded.read(timeout_s=0.1) == []


def test_users_may_be_excepted(top: Path, other: Other) -> None:
    def cat(user: int) -> int:
        # the directory is entered as root: others may not search the way to it
        return subprocess.run(["cat", "f"], cwd=top / "in", user=user, capture_output=True, check=False).returncode

    (top / "in/f").chmod(0o644)
    with guard(top / "in", allow_uids=[NOBODY_UID], timeout_s=SHORT_S):
        assert cat(NOBODY_UID) == 0
        assert cat(0) == 1
        assert cat(NOBODY_UID - 1) == 1


def test_executables_may_be_excepted_by_what_they_are_not_by_name(top: Path) -> None:
    trusted = Path(shutil.copy("/bin/cat", top / "out/cat"))
    other_cat = Path(shutil.copy("/bin/cat", top / "out/deep/cat"))

    def read_by(executable: Path) -> int:
        return subprocess.run([executable, top / "in/f"], capture_output=True, check=False).returncode

    with guard(top / "in", allow_exes=[trusted], timeout_s=SHORT_S):
        assert read_by(trusted) == 0
        assert read_by(other_cat) == 1
        trusted.rename(top / "out/was-trusted")
        other_cat.rename(trusted)
        assert read_by(top / "out/was-trusted") == 1
        assert read_by(trusted) == 0


def test_exceptions_are_free_and_roots_below_them_are_not(top: Path, other: Other) -> None:
    with guard(top / "in", exclude=[top / "in/deep"], timeout_s=SHORT_S) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        guarded.add_root(top / "in/deep/er")
        assert refusal(other, actions.read, top / "in/deep/er/f") == "EPERM"


class OddNames(fan.Handler):
    """A handler of the user's own: it runs in the user's process."""

    name = "odd-names"

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.name == b"secret":
            return fan.deny(errno.EIO)
        return fan.SKIP_EVENT if event.name == b"quiet" else fan.SEND_TO_USERSPACE


def test_handlers_of_ones_own_decide_and_what_they_send_is_delivered(top: Path, other: Other) -> None:
    for name in ("secret", "quiet", "loud"):
        (top / "in" / name).write_bytes(b"x")
    with Group(timeout_s=5) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        attachment = group.attach(OddNames)
        assert refusal(other, actions.read, top / "in/secret") == denied_with(errno.EIO)
        assert refusal(other, actions.read, top / "in/quiet") == "ok"
        assert refusal(other, actions.read, top / "in/loud") == "ok"
        assert [event.path for event in group.read(timeout_s=1)] == [str(top / "in/loud")]
        assert (attachment.n_seen, attachment.n_skipped, attachment.n_denied) == (3, 1, 1)


def test_allow_deny_list_refuses_by_name_until_it_is_detached(top: Path, other: Other) -> None:
    with Group(timeout_s=SHORT_S) as group:
        group.mark(top / "in", Mask.OPEN_PERM)
        attachment = group.attach("allow-deny-list", globs=["*.key"])
        for name in ("a.key", "a.txt"):
            (top / "in" / name).write_bytes(b"x")
        assert refusal(other, actions.read, top / "in/a.key") == "EPERM"
        assert refusal(other, actions.read, top / "in/a.txt") == "ok"
        assert refusal(other, actions.read, top / "out/f") == "ok"
        wait_until(lambda: attachment.n_denied == 1, "what the guardian counted arrives")
        group.detach(attachment)
        assert refusal(other, actions.read, top / "in/a.key") == "ok"
