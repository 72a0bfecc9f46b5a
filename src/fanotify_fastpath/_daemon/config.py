"""
The daemon's configuration: ``/etc/fanfpd.toml`` as checked, frozen values. Without the file all is as the defaults say.

What a key may be is said once, in its type; from there the check takes it, and the sentence of a refusal.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec

from fanotify_fastpath._wire.addresses import SOCKET_PATH
from fanotify_fastpath._wire.messages import RING_MIN_BYTES, SETS_MAX
from fanotify_fastpath.errors import InvalidArgument, NotPermitted, PathNotFound
from fanotify_fastpath.mask import parse_mask

CONFIG_PATH = "/etc/fanfpd.toml"
#: the group whose members may connect, where there is one of that name and nothing else is configured
DEFAULT_GROUP = "fanfp"
_MAX = 1 << 20
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,12}) ?(KiB|MiB|GiB|)")
_LOOPBACK = r"^(unix:/[^\x00]+|127\.0\.0\.1:[0-9]{1,5}|\[::1\]:[0-9]{1,5})$"

Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX, description=f"a whole number from 0 to {_MAX}")]
SetCount = Annotated[int, msgspec.Meta(ge=0, le=SETS_MAX, description=f"a whole number from 0 to {SETS_MAX}")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=_MAX, description=f"a whole number from 1 to {_MAX}")]
Size = Annotated[
    int,
    msgspec.Meta(
        ge=RING_MIN_BYTES, le=1 << 32, description='a size from 64 KiB to 4 GiB: a number of bytes, or "4 MiB"'
    ),
]
Path = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]*$", description="an absolute path")]
Names = Annotated[tuple[str | int, ...], msgspec.Meta(description="a list of names or numbers")]


class Daemon(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Table ``[daemon]``: the process itself.

    :ivar socket: where it listens
    :ivar mode: permissions of the socket
    :ivar group: owner of the socket; None: ``fanfp`` if there is such a group, else root's
    :ivar engine: what makes the events
    :ivar log_level: the least important messages that are printed
    :ivar metrics: where metrics are served, if anywhere
    :ivar max_connections: of all users together
    """

    socket: Path = SOCKET_PATH
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o777, description="permissions in octal, 0o660 for example")] = 0o660
    group: Annotated[str, msgspec.Meta(min_length=1, description="the name of a group")] | None = None
    engine: Annotated[
        Literal["auto", "fanotify", "kernel"], msgspec.Meta(description='"auto", "fanotify" or "kernel"')
    ] = "auto"
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"],
        msgspec.Meta(description='"error", "warning", "info" or "debug"'),
    ] = "info"
    metrics: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=_LOOPBACK, description='"unix:/path", "127.0.0.1:port" or "[::1]:port"; no other machine'
            ),
        ]
        | None
    ) = None
    max_connections: Positive = 4096


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Table ``[limits]``: how much one user may use; in a rule, how much its users may.

    :ivar connections_per_user: at a time
    :ivar groups_per_user: at a time, in all connections
    :ivar roots_per_group: roots and exceptions
    :ivar sets_per_group: sets of roots: one for each mark of scope subtree, others for handlers
    :ivar marks_per_group: marks
    :ivar ring_bytes: size of one group's ring
    :ivar ring_bytes_per_user: size of all rings of a user
    :ivar requests_per_second: in the long run
    :ivar requests_burst: at once, after a time without any
    """

    connections_per_user: Count = 64
    groups_per_user: Count = 32
    roots_per_group: Count = 4096
    sets_per_group: SetCount = 64
    marks_per_group: Count = 64
    ring_bytes: Size = 16 << 20
    ring_bytes_per_user: Size = 64 << 20
    requests_per_second: Positive = 1000
    requests_burst: Positive = 2000


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One ``[[rule]]``: what some users may. Of all rules that match a user, the first that has a key gives its value.

    :ivar users: whom it is about, by name or number; with no users and no groups: everybody
    :ivar groups: members of these are meant, too
    :ivar allow: they may connect
    :ivar events: the event types that they may ask for
    :ivar scopes: the scopes of marks that they may make
    :ivar roots_below: directories in which their roots must lie
    :ivar limits: those of :class:`Limits` that differ for them; in the file these are keys of the rule
    """

    users: Names = ()
    groups: Names = ()
    allow: Annotated[bool, msgspec.Meta(description="true or false")] | None = None
    events: Annotated[tuple[str, ...], msgspec.Meta(description="a list of event types")] | None = None
    scopes: (
        Annotated[tuple[Literal["subtree", "inode"], ...], msgspec.Meta(description='a list of "subtree" and "inode"')]
        | None
    ) = None
    roots_below: Annotated[tuple[Path, ...], msgspec.Meta(description="a list of absolute paths")] | None = None
    limits: Mapping[str, int] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """
    All of it.

    :ivar path: of the file; None: there was none
    """

    path: str | None = None
    daemon: Daemon = Daemon()
    limits: Limits = Limits()
    rules: tuple[Rule, ...] = ()


#: keys of a rule that are reserved: why they are refused
RESERVED = {
    "handlers": "handlers run in the client's own process, so no rule of the daemon can forbid them yet; leave it out",
    "deny_events": "denying is not possible through the daemon yet; leave it out, or write false",
}
TABLES: dict[str, type[Daemon | Limits | Rule]] = {"daemon": Daemon, "limits": Limits, "rule": Rule}
T = TypeVar("T", Daemon, Limits, Rule)


def load(path: str | None = None) -> Config:
    """
    Read the configuration.

    :param path: of the file; None: :data:`CONFIG_PATH`, which need not exist
    :raises PathNotFound: there is no such file
    :raises NotPermitted: it cannot be read
    :raises InvalidArgument: what is in it is not right; says where
    """
    where = CONFIG_PATH if path is None else path
    try:
        with open(where, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        if path is None:
            return Config()
        raise PathNotFound(f"the configuration {where} does not exist", path=where) from None
    except PermissionError as exc:
        raise NotPermitted(f"the configuration {where} cannot be read: {exc.strerror}", path=where) from None
    except OSError as exc:
        raise InvalidArgument(f"the configuration {where} cannot be read: {exc.strerror}", path=where) from None
    return parse(text, where)


def parse(text: bytes, path: str) -> Config:
    """
    Check the content of a file.

    :param text: TOML
    :param path: of the file, to be named
    :raises InvalidArgument: what is wrong, and where
    """
    try:
        tables = tomllib.loads(text.decode())
    except UnicodeDecodeError as exc:
        raise InvalidArgument(f"{path} is not UTF-8: byte {exc.start}", path=path) from None
    except tomllib.TOMLDecodeError as exc:
        raise InvalidArgument(f"{path} is not TOML: {exc}", path=path) from None
    _refuse_unknown(tables, TABLES, path)
    rules = tables.get("rule", [])
    if not isinstance(rules, list):
        raise InvalidArgument(f"{path}: write [[rule]], in two pairs of brackets, for there may be several", path=path)
    return Config(
        path=path,
        daemon=_table(tables.get("daemon", {}), Daemon, f"{path}: [daemon]"),
        limits=_table(tables.get("limits", {}), Limits, f"{path}: [limits]"),
        rules=tuple(_rule(rule, f"{path}: [[rule]] {n}") for n, rule in enumerate(rules, 1)),
    )


def keys_of(table: str) -> tuple[str, ...]:
    """The keys that a table may have in the file."""
    if table == "rule":
        own = (key for key in Rule.__struct_fields__ if key != "limits")
        return (*own, *RESERVED, *Limits.__struct_fields__)
    return TABLES[table].__struct_fields__


def _rule(values: Any, where: str) -> Rule:
    if not isinstance(values, dict):
        raise InvalidArgument(f"{where} is not a table")
    _refuse_unknown(values, keys_of("rule"), where)
    for key, why in RESERVED.items():
        if values.get(key, False) is not False:
            raise InvalidArgument(f"{where} {key}: {why}")
    limits = {key: value for key, value in values.items() if key in Limits.__struct_fields__}
    checked = _table(limits, Limits, where)
    own = {key: value for key, value in values.items() if key not in (*limits, *RESERVED)}
    rule = _table(own, Rule, where)
    if rule.events:
        try:
            parse_mask(",".join(rule.events))
        except InvalidArgument as exc:
            raise InvalidArgument(f"{where} events: {exc}") from None
    return msgspec.structs.replace(rule, limits={key: getattr(checked, key) for key in limits})


def _table(values: Any, kind: type[T], where: str) -> T:
    """Check one table."""
    if not isinstance(values, dict):
        raise InvalidArgument(f"{where} is not a table")
    _refuse_unknown(values, kind.__struct_fields__, where)
    values = {key: _size(value) if key.startswith("ring_bytes") else value for key, value in values.items()}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        key = re.findall(r"\$\.(\w+)", str(exc))[0]
        raise InvalidArgument(f"{where} {key} = {_shown(values[key])}: must be {_allowed(kind, key)}") from None


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, Any] | tuple[str, ...], where: str) -> None:
    what = "table" if known is TABLES else "key"
    for key in values:
        if key not in known:
            raise InvalidArgument(f"{where}: unknown {what} {key!r}; known are {', '.join(known)}")


def _size(value: Any) -> Any:
    """Turn "4 MiB" into a number; what is none is left for the check."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2]] if match else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed(kind: type[T], key: str) -> str:
    """What a key may be, in words."""
    return next(_descriptions(get_type_hints(kind, include_extras=True)[key]))


def _descriptions(hint: Any) -> Iterator[str]:
    for meta in getattr(hint, "__metadata__", ()):
        if meta.description:
            yield meta.description
    for inner in get_args(hint):
        yield from _descriptions(inner)
