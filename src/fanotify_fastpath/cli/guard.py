"""``fanfp guard``."""

import argparse
import os

from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.output import Output
from fanotify_fastpath.cli.session import make_writer, run_group, show_paths
from fanotify_fastpath.errors import PathNotFound
from fanotify_fastpath.guard import guard
from fanotify_fastpath.mask import Mask, mask_names

_DENIED = {
    "open": Mask.OPEN_PERM,
    "exec": Mask.OPEN_EXEC_PERM,
    "access": Mask.ACCESS_PERM,
    **{mask_names(event)[0].removesuffix("_perm"): event for event in Mask.ALL_CHANGES_PERM},
}


def run(options: argparse.Namespace) -> int:
    """Guard until something ends it; return the exit code."""
    output = Output()
    writer = make_writer(options, output)
    deny = parse_deny(options.deny)
    uids = [parse_uid(text) for text in split_lists(options.allow_uid)]
    guarding = guard(
        *[os.fsencode(path) for path in options.paths],
        deny=deny,
        allow_uids=uids,
        allow_exes=[executable(path) for path in options.allow_exe],
        exclude=[os.fsencode(path) for path in options.exclude],
        on_timeout=options.on_timeout,
        engine=options.engine,
    )
    with guarding:
        greeting = f"guarding {show_paths(options.paths)} (deny {','.join(split_lists(options.deny))})"
        return run_group(options, guarding.group, writer, output, greeting)


def split_lists(texts: list[str]) -> list[str]:
    """The items of an option that may be repeated and takes commas."""
    return [item.strip() for text in texts for item in text.split(",")]


def parse_deny(texts: list[str]) -> Mask:
    """
    Read ``--deny``.

    :raises UsageError: a word is unknown
    """
    mask = Mask(0)
    for word in split_lists(texts):
        if word.lower() not in _DENIED:
            raise UsageError(f"unknown operation {word!r} in --deny; known are {', '.join(_DENIED)}")
        mask |= _DENIED[word.lower()]
    return mask


def parse_uid(text: str) -> int:
    """
    Read one ``--allow-uid``.

    :raises UsageError: there is no such user
    """
    if text.isascii() and text.isdigit() and int(text) < 1 << 32:
        return int(text)
    import pwd

    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise UsageError(f"no user is named {text!r} in --allow-uid; give a name or a number") from None


def executable(path: str) -> bytes:
    """
    Check one ``--allow-exe``: a misspelt one would be an exception for nobody.

    :raises PathNotFound: there is no such file
    """
    if not os.path.isfile(path):
        raise PathNotFound(f"cannot except {path!r}: no such executable; check the spelling", path=path)
    return os.fsencode(os.path.abspath(path))
