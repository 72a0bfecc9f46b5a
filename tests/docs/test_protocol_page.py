"""The page about the protocol says what the types of the messages say, and has all of them."""

import re
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from fanotify_fastpath._bpf._abi import FpEvent, FpKind, FpLimit
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.addresses import SOCKET_PATH, SOCKET_VARIABLE
from fanotify_fastpath._wire.channel import SEND_TIMEOUT_S
from fanotify_fastpath._wire.messages import Answer, GroupStatus, Message, Request, Sync, encode

from .pages import ROOT, blocks
from .tables import rows

PAGE = "protocol.md"
TEXT = (ROOT / "docs" / PAGE).read_text()
REQUESTS = {kind.__name__: kind for kind in get_args(Request)}
ANSWERS = {kind.__name__: kind for kind in get_args(Answer)}


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.mark.parametrize(("heading", "kinds"), [("request", REQUESTS), ("answer", ANSWERS)])
def test_each_message_is_there_with_its_fields_and_descriptors(heading: str, kinds: dict[str, type[Message]]) -> None:
    found = {names(row[heading])[0]: row for row in rows(PAGE, heading)}
    assert found.keys() == kinds.keys()
    for name, row in found.items():
        assert names(row["fields"]) == list(kinds[name].__struct_fields__), name
        assert int(row["descriptors"]) == kinds[name].n_fds, name


def test_each_request_has_an_answer_and_a_sentence() -> None:
    for row in rows(PAGE, "request"):
        assert names(row["answered by"])[0] in ANSWERS
        assert f"**{names(row['request'])[0]}**" in TEXT
        assert f"Answered by :class:`{names(row['answered by'])[0]}`" in (
            REQUESTS[names(row["request"])[0]].__doc__ or ""
        )


def number(n: int | None) -> str:
    """A number as the page writes it."""
    if n is None or n < 10_000:
        return str(n)
    bits = n.bit_length()
    return f"2^{bits} - 1" if n == (1 << bits) - 1 else f"2^{bits - 1}" if n == 1 << bits - 1 else str(n)


def said(kind: inspect.Type) -> str:
    """A type and its bounds as the page writes them."""
    match kind:
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType(ge=ge, le=None):
            return f"integer, from {ge}"
        case inspect.IntType(ge=ge, le=le):
            return f"integer, {number(ge)} to {number(le)}"
        case inspect.StrType(max_length=longest):
            return f"text, at most {longest} characters"
        case inspect.BytesType(min_length=least, max_length=longest):
            return f"bytes, {least} to {longest}"
        case inspect.ListType(item_type=item, max_length=longest):
            return f"list, at most {longest} of: {said(item)}"
        case inspect.DictType(key_type=key, value_type=value, max_length=longest):
            return f"map, at most {longest} of: {said(key)}; {said(value)}"
        case inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in sorted(map(str, values)))
        case inspect.StructType():
            return "group"
    raise TypeError(kind)


def fields_of(kind: Any) -> dict[str, str]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.name: said(field.type) for field in info.fields}


def test_each_field_is_there_with_its_bounds() -> None:
    documented = {row["field"]: row["what it is"] for row in rows(PAGE, "field")}
    expected: dict[str, set[str]] = {}
    for where, kinds in (("requests", REQUESTS), ("answers", ANSWERS)):
        for name, kind in kinds.items():
            for field, text in fields_of(kind).items():
                if (name, field) == ("Gone", "id"):
                    assert text == "`0`"
                    continue
                key = f"`{field}`"
                if field == "id":
                    key += f" in {where}"
                elif field == "ring_bytes":
                    key += " in `Open`, `Opened`"
                expected.setdefault(key, set()).add(text)
    assert {key: documented.get(key) for key in expected} == {key: text for key, (text,) in expected.items()}
    assert documented.keys() == expected.keys()


def test_each_field_of_a_group_is_named() -> None:
    sentence = TEXT.partition("Each of `groups` is a map:")[2].partition(".")[0]
    assert names(sentence) == list(GroupStatus.__struct_fields__)


def test_only_the_field_that_is_named_may_be_left_out() -> None:
    optional = {
        field.name
        for kind in (*REQUESTS.values(), *ANSWERS.values())
        for field in msgspec.structs.fields(kind)
        if not field.required
    }
    assert optional == {"after"}
    assert "Only `after` may be left out" in TEXT


def test_the_numbers_are_those_of_the_package() -> None:
    assert f"Version {messages.VERSION}." in TEXT
    assert f"at most {messages.MESSAGE_MAX_BYTES} bytes, and {messages.FDS_MAX} descriptors" in TEXT
    assert f"`{SOCKET_PATH}`; clients follow `{SOCKET_VARIABLE}`" in TEXT
    assert f"does not read for {SEND_TIMEOUT_S:.0f} seconds" in TEXT


def test_the_example_is_a_packet() -> None:
    (block,) = (block for block in blocks("text") if block.page.name == PAGE)
    assert bytes.fromhex(block.code) == encode(Sync(1))


def test_records_are_as_in_the_header() -> None:
    kinds = {names(row["`kind`"])[0]: int(row["number"]) for row in rows(PAGE, "`kind`")}
    assert kinds == {"FP_EVENT": FpKind.EVENT, "FP_TOLD": FpKind.TOLD}
    assert f"`version` is {FpLimit.VERSION}." in TEXT
    table = TEXT.partition("| field | in `FP_EVENT` | in `FP_TOLD` |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        for name in names(line.split(" | ")[0]):
            assert name in FpEvent._fields
