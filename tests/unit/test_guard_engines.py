"""Which engine a guard takes, and what is refused before anything is made."""

from typing import Any

import pytest

from fanotify_fastpath import InvalidArgument, Mask, UnsupportedFeature, guard
from fanotify_fastpath._bpf._abi import FpDeny
from fanotify_fastpath._engines.kernel.forbidder import DENIABLE, operations_of
from fanotify_fastpath._engines.kernel.hooks import HOOKS
from fanotify_fastpath.cli.guard import parse_deny


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"deny": Mask.CREATE_PERM, "engine": "fanotify"}, "engine fanotify cannot deny create_perm"),
        ({"deny": Mask.OPEN_PERM | Mask.LINK_PERM, "decide": bool}, "decide cannot be asked about link_perm"),
        ({"deny": Mask.PRE_ACCESS, "engine": "kernel"}, "pre_access"),
    ],
)
def test_what_no_engine_can_is_said_before_anything_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedFeature, match=said):
        guard("/missing", **options)


@pytest.mark.parametrize("deny", [Mask.CREATE, Mask.CREATE_PERM | Mask.DELETE, Mask.ONDIR])
def test_only_permissions_can_be_denied(deny: Mask) -> None:
    with pytest.raises(InvalidArgument):
        guard("/missing", deny=deny, engine="kernel")


def test_each_operation_has_a_number_and_a_hook() -> None:
    everything = operations_of(DENIABLE | Mask.ONDIR)
    assert everything == sum(FpDeny)
    judged = 0
    for operations in HOOKS.values():
        judged |= operations
    assert judged == everything
    assert operations_of(Mask.OPEN_PERM) == FpDeny.DENY_OPEN
    assert operations_of(Mask.OPEN_PERM | Mask.ONDIR) == FpDeny.DENY_OPEN | FpDeny.DENY_OPEN_DIR
    assert operations_of(Mask.MKDIR_PERM | Mask.ONDIR) == FpDeny.DENY_MKDIR


def test_the_command_line_has_a_word_for_each() -> None:
    words = "open,exec,access,create,mkdir,unlink,rmdir,rename,link,symlink,setattr,truncate"
    assert parse_deny([words]) == DENIABLE
