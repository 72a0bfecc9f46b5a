"""The daemon's configuration: what it may be, and what is said of what it may not be."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import errors
from fanotify_fastpath._daemon.config import (
    RESERVED,
    TABLES,
    Config,
    Daemon,
    Limits,
    Rule,
    keys_of,
    load,
    parse,
)

WHERE = "/srv/fanfpd.toml"
WHOLE = "a whole number from 0"

#: text, what the sentence names: table, key, what is allowed
REFUSED = {
    "unknown table": ("[demon]\n", ("'demon'", "known are daemon, limits, rule")),
    "unknown key": ("[limits]\nroots = 3\n", ("[limits]", "'roots'", "roots_per_group")),
    "text for a number": ('[limits]\nmarks_per_group = "many"\n', ("[limits] marks_per_group = 'many'", WHOLE)),
    "number in a text": ('[limits]\nmarks_per_group = "7"\n', ("[limits] marks_per_group = '7'", WHOLE)),
    "fraction": ("[limits]\nmarks_per_group = 1.5\n", ("[limits] marks_per_group = 1.5", WHOLE)),
    "boolean for a number": ("[limits]\nmarks_per_group = true\n", ("[limits] marks_per_group = True", WHOLE)),
    "below zero": ("[limits]\ngroups_per_user = -1\n", ("[limits] groups_per_user = -1", WHOLE)),
    "no requests at all": ("[limits]\nrequests_per_second = 0\n", ("requests_per_second = 0", "from 1")),
    "more sets than bits": ("[limits]\nsets_per_group = 257\n", ("sets_per_group = 257", "from 0 to 256")),
    "ring too small": ("[limits]\nring_bytes = 512\n", ("[limits] ring_bytes = 512", "4 KiB")),
    "unknown unit": ('[limits]\nring_bytes = "4 MB"\n', ("[limits] ring_bytes = '4 MB'", '"4 MiB"')),
    "path with a NUL": ('[daemon]\nsocket = "/\\u0000"\n', ("[daemon] socket = '/\\x00'", "an absolute path")),
    "relative path": ('[daemon]\nsocket = "run/x"\n', ("[daemon] socket = 'run/x'", "an absolute path")),
    "decimal mode": ("[daemon]\nmode = 660\n", ("[daemon] mode = 660", "0o660")),
    "engine that is none": ('[daemon]\nengine = "daemon"\n', ("[daemon] engine = 'daemon'", '"fanotify"')),
    "log level": ('[daemon]\nlog_level = "loud"\n', ("[daemon] log_level = 'loud'", '"warning"')),
    "metrics for all the world": ('[daemon]\nmetrics = "0.0.0.0:99"\n', ("[daemon] metrics", "no other machine")),
    "rule that is no list": ("[rule]\nallow = true\n", ("[[rule]]",)),
    "daemon that is a list": ("[[daemon]]\n", ("[daemon] is not a table",)),
    "unknown key of a rule": ("[[rule]]\n[[rule]]\nevnts = []\n", ("[[rule]] 2", "'evnts'", "events")),
    "event type": ('[[rule]]\nevents = ["open", "opened"]\n', ("[[rule]] 1 events", "'opened'")),
    "event that is no text": ("[[rule]]\nevents = [3]\n", ("[[rule]] 1 events = [3]", "a list of event types")),
    "scope": ('[[rule]]\nscopes = ["filesystem"]\n', ("[[rule]] 1 scopes", '"subtree" and "inode"')),
    "relative place": ('[[rule]]\nroots_below = ["srv"]\n', ("[[rule]] 1 roots_below", "absolute paths")),
    "limit of a rule": ("[[rule]]\ngroups = []\nroots_per_group = -3\n", ("[[rule]] 1 roots_per_group = -3",)),
    "allow": ('[[rule]]\nallow = "yes"\n', ("[[rule]] 1 allow = 'yes'", "true or false")),
    "denying": ("[[rule]]\ndeny_events = true\n", ("[[rule]] 1 deny_events", "not possible through the daemon yet")),
    "handlers": ('[[rule]]\nhandlers = ["ignore-prefix"]\n', ("[[rule]] 1 handlers", "client's own process")),
    "no TOML": ("[daemon\n", ("is not TOML", "line 1")),
}


def test_without_a_file_all_is_as_the_defaults_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fanotify_fastpath._daemon.config.CONFIG_PATH", str(tmp_path / "none.toml"))
    assert load() == Config()
    assert Config().daemon == Daemon()
    assert Config().limits.ring_bytes == 16 * 1024 * 1024


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(errors.PathNotFound, match=r"none\.toml does not exist"):
        load(str(tmp_path / "none.toml"))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be read"):
        load(str(tmp_path))


def test_an_empty_file_is_the_default_configuration() -> None:
    assert parse(b"", WHERE) == Config(path=WHERE)


def test_everything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fanfpd.toml"
    path.write_text(
        """
        [daemon]
        socket = "/run/x.socket"
        mode = 0o666
        group = "users"
        engine = "fanotify"
        log_level = "debug"
        metrics = "127.0.0.1:9753"
        max_connections = 7

        [limits]
        groups_per_user = 3
        ring_bytes = "4 MiB"
        ring_bytes_per_user = 8388608

        [[rule]]
        users = ["root", 1000]
        groups = ["adm"]
        allow = true
        events = ["create", "close_write"]
        scopes = ["subtree"]
        roots_below = ["/srv"]
        deny_events = false
        ring_bytes = "1GiB"
        connections_per_user = 0
        """
    )
    config = load(str(path))
    assert config.path == str(path)
    assert config.daemon == Daemon(
        socket="/run/x.socket",
        mode=0o666,
        group="users",
        engine="fanotify",
        log_level="debug",
        metrics="127.0.0.1:9753",
        max_connections=7,
    )
    assert config.limits == Limits(groups_per_user=3, ring_bytes=4 << 20, ring_bytes_per_user=8 << 20)
    assert config.rules == (
        Rule(
            users=("root", 1000),
            groups=("adm",),
            allow=True,
            events=("create", "close_write"),
            scopes=("subtree",),
            roots_below=("/srv",),
            limits={"ring_bytes": 1 << 30, "connections_per_user": 0},
        ),
    )


def test_a_rule_has_only_those_limits_that_it_names() -> None:
    (rule,) = parse(b"[[rule]]\nroots_per_group = 3\n", WHERE).rules
    assert rule.limits == {"roots_per_group": 3}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_with_file_table_key_and_what_is_allowed(name: str) -> None:
    text, named = REFUSED[name]
    with pytest.raises(errors.InvalidArgument) as caught:
        parse(text.encode(), WHERE)
    sentence = str(caught.value)
    assert sentence.startswith(WHERE)
    assert "\n" not in sentence
    for part in named:
        assert part in sentence


_VALUES = (
    *("0", "1", "-1", "64", "1048577", "9" * 40, "0o660", "1.5", "inf", "nan", "true", "false", '"4 MiB"', '"auto"'),
    *('""', '"x"', '"/x"', '"/\\u0000"', '"999999999999 GiB"', "{}", "{a = 1}", "2026-01-01", "2026-01-01T00:00:00Z"),
    *("[]", "[[]]", '["x"]', "[1, 2]", '["/srv", 3]', '["create"]', '["subtree"]'),
)
_PLACES = [(table, key) for table in TABLES for key in (*keys_of(table), "limits", "nonsense", '"a b"')]


def refusal(text: bytes) -> str | None:
    """What is said of it; None: it is right."""
    try:
        parse(text, WHERE)
    except errors.InvalidArgument as exc:
        return str(exc)
    return None


@given(st.lists(st.tuples(st.sampled_from(_PLACES), st.sampled_from(_VALUES)), max_size=6))
def test_whatever_stands_there_is_taken_or_refused_in_a_sentence(chosen: list[tuple[tuple[str, str], str]]) -> None:
    lines = dict(chosen)
    text = "".join(f"{table}.{key} = {value}\n" for (table, key), value in lines.items() if table != "rule")
    text += "[[rule]]\n" + "".join(f"{key} = {value}\n" for (table, key), value in lines.items() if table == "rule")
    said = refusal(text.encode())
    assert said is None or (said.startswith(WHERE) and said.isprintable())


@given(st.binary(max_size=40))
def test_any_bytes_are_taken_or_refused_in_a_sentence(text: bytes) -> None:
    said = refusal(text)
    assert said is None or said.startswith(WHERE)


def test_a_file_that_is_no_text_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="not UTF-8: byte 1"):
        parse(b"#\xff", WHERE)


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        parse(b"[daemon]\nlog_level = '%s'\n" % (b"x" * 5000), WHERE)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_accepted(table: str) -> None:
    assert set(keys_of(table)) >= set(TABLES[table].__struct_fields__) - {"limits"}
    assert set(RESERVED) <= set(keys_of("rule"))


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load(os.devnull).daemon.mode = 0  # type: ignore[misc]
