"""Rules: whom they are about, which of them wins, what is refused."""

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from children import fork
from fanotify_fastpath import errors
from fanotify_fastpath._daemon.config import Config, Limits, parse
from fanotify_fastpath._daemon.peer import Credentials
from fanotify_fastpath._daemon.policy import ALL_EVENTS, Policy, Rights, socket_gid
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.mask import Mask

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
SOMEBODY = Credentials(1000, 1000, (27, 44))
ANOTHER = Credentials(1001, 1001)
ROOT = Credentials(0, 0)


def policy(text: str) -> Policy:
    return Policy(parse(text.encode(), "/srv/fanfpd.toml"))


def test_without_rules_everybody_may_everything_that_is_possible() -> None:
    rights = Policy(Config()).of(SOMEBODY)
    assert rights == Rights(1000, limits=Limits())
    rights.check_connect()
    rights.check_mark(int(ALL_EVENTS | Mask.ONDIR | Mask.EVENT_ON_CHILD), Scope.SUBTREE)
    rights.check_mark(int(Mask.CREATE), Scope.INODE)


@pytest.mark.parametrize("mask", [Mask.OPEN_PERM, Mask.PRE_ACCESS, Mask.FS_ERROR, Mask.MNT_ATTACH])
def test_what_would_stop_others_or_tell_of_the_machine_is_refused_to_everybody(mask: Mask) -> None:
    with pytest.raises(errors.NotPermitted, match=mask.name.lower() if mask.name else ""):
        Policy(Config()).of(SOMEBODY).check_mark(int(mask | Mask.CREATE), Scope.SUBTREE)


@pytest.mark.parametrize("scope", [Scope.MOUNT, Scope.FILESYSTEM])
def test_a_scope_that_reaches_what_others_have_is_refused(scope: Scope) -> None:
    with pytest.raises(errors.NotPermitted, match=f"scope {scope.value}"):
        Policy(Config()).of(SOMEBODY).check_mark(int(Mask.OPEN), scope)


@pytest.mark.parametrize(
    "who", ["users = [1000]", "groups = [1000]", "groups = [44]", "users = [1]\ngroups = [27]", ""]
)
def test_a_rule_is_about_its_users_and_the_members_of_its_groups(who: str) -> None:
    assert not policy(f"[[rule]]\n{who}\nallow = false").of(SOMEBODY).allowed


@pytest.mark.parametrize("who", ["users = [1001]", "groups = [1001]", "users = [44]"])
def test_a_rule_is_about_nobody_else(who: str) -> None:
    assert policy(f"[[rule]]\n{who}\nallow = false").of(SOMEBODY).allowed


def test_names_are_looked_up() -> None:
    rules = policy('[[rule]]\nusers = ["root"]\nallow = false')
    assert rules.of(Credentials(5, 0)) == Rights(5, source="/srv/fanfpd.toml")
    assert not policy('[[rule]]\ngroups = ["root"]\nallow = false').of(Credentials(5, 0)).allowed


@pytest.mark.parametrize("key", ["users", "groups"])
def test_a_name_of_nobody_is_refused_where_it_stands(key: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=rf"\[\[rule\]\] 2 {key}.*'nobody-of-this-name'"):
        policy(f'[[rule]]\n[[rule]]\n{key} = ["nobody-of-this-name"]')


def test_the_first_rule_that_has_a_key_gives_its_value() -> None:
    rules = policy(
        """
        [limits]
        groups_per_user = 9
        marks_per_group = 8

        [[rule]]
        users = [1001]
        allow = false

        [[rule]]
        users = [1000]
        roots_per_group = 1

        [[rule]]
        groups = [27]
        events = ["open"]
        connections_per_user = 2

        [[rule]]
        events = ["create"]
        scopes = ["inode"]
        connections_per_user = 3
        marks_per_group = 4
        """
    )
    rights = rules.of(SOMEBODY)
    assert rights.allowed
    assert rights.events == Mask.OPEN
    assert rights.scopes == {Scope.INODE}
    assert rights.limits == Limits(groups_per_user=9, marks_per_group=4, roots_per_group=1, connections_per_user=2)
    other = rules.of(ANOTHER)
    assert not other.allowed
    assert other.events == Mask.CREATE
    assert other.limits == Limits(groups_per_user=9, marks_per_group=4, connections_per_user=3)


def test_for_the_superuser_only_limits_hold() -> None:
    rules = policy("[[rule]]\nallow = false\nevents = []\nscopes = []\nroots_below = []\nconnections_per_user = 5")
    assert rules.of(ROOT) == Rights(0, limits=Limits(connections_per_user=5), source="/srv/fanfpd.toml")


def test_no_rule_can_allow_what_would_stop_others() -> None:
    with pytest.raises(errors.NotPermitted, match="open_perm"):
        policy('[[rule]]\nevents = ["all_perm", "open"]').of(SOMEBODY).check_mark(int(Mask.OPEN_PERM), Scope.SUBTREE)


def test_an_empty_list_allows_nothing() -> None:
    rights = policy("[[rule]]\nevents = []").of(SOMEBODY)
    with pytest.raises(errors.NotPermitted, match="ask for create"):
        rights.check_mark(int(Mask.CREATE), Scope.SUBTREE)
    with pytest.raises(errors.NotPermitted, match="scope subtree"):
        policy("[[rule]]\nscopes = []").of(SOMEBODY).check_mark(int(Mask.CREATE), Scope.SUBTREE)


def test_a_refusal_names_user_key_and_file() -> None:
    with pytest.raises(errors.NotPermitted) as caught:
        policy("[[rule]]\nallow = false").of(SOMEBODY).check_connect()
    for part in ("user 1000", "allow", "/srv/fanfpd.toml"):
        assert part in str(caught.value)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "srv" / "inner").mkdir(parents=True)
    (tmp_path / "srv-too").mkdir()
    (tmp_path / "srv" / "out").symlink_to(tmp_path / "srv-too")
    (tmp_path / "link").symlink_to(tmp_path / "srv")
    return tmp_path


@pytest.fixture
def rights(top: Path) -> Rights:
    return policy(f'[[rule]]\nroots_below = ["{top}/link/"]').of(SOMEBODY)


def descriptor(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("inside", ["srv", "srv/inner", "link/inner"])
def test_a_root_below_is_allowed(top: Path, rights: Rights, inside: str) -> None:
    for fd in descriptor(top / inside):
        rights.check_root(fd)


@pytest.mark.parametrize("outside", ["", "srv-too", "srv/out", "srv/../srv-too"])
def test_a_root_elsewhere_is_refused_whatever_it_is_called(top: Path, rights: Rights, outside: str) -> None:
    for fd in descriptor(top / outside):
        with pytest.raises(errors.NotPermitted, match=f"below {top}/srv"):
            rights.check_root(fd)


def test_everything_lies_below_the_root_directory() -> None:
    for fd in descriptor(Path("/")):
        policy('[[rule]]\nroots_below = ["/"]').of(SOMEBODY).check_root(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace")
def test_a_root_that_another_mount_namespace_calls_so_is_refused(top: Path, rights: Rights) -> None:
    (top / "srv" / "faked").mkdir()
    read, write = os.pipe()
    child = fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None)
            assert libc.unshare(_CLONE_NEWNS) == 0
            assert libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0
            assert libc.mount(bytes(top / "srv-too"), bytes(top / "srv" / "faked"), None, _MS_BIND, None) == 0
            os.write(write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    try:
        assert os.read(read, 1) == b"x"
        for fd in descriptor(Path(f"/proc/{child}/root{top}/srv/faked")):
            assert os.readlink(f"/proc/self/fd/{fd}") == f"{top}/srv/faked"
            with pytest.raises(errors.NotPermitted):
                rights.check_root(fd)
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_sockets_group() -> None:
    assert socket_gid(parse(b'[daemon]\ngroup = "root"', "x")) == 0
    with pytest.raises(errors.InvalidArgument, match=r"\[daemon\] group.*'no-such-group'"):
        socket_gid(parse(b'[daemon]\ngroup = "no-such-group"', "x"))


def test_the_sockets_group_is_roots_where_there_is_none_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanotify_fastpath._daemon.policy.DEFAULT_GROUP", "no-such-group")
    assert socket_gid(Config()) == 0
