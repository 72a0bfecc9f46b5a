"""What Python believes of the records is what the header says, and an object that says otherwise is refused."""

import shutil
import struct
from dataclasses import replace

import gen_abi
import pytest

from fanotify_fastpath._bpf import _abi
from fanotify_fastpath._bpf.layout import Field, Layouts
from fanotify_fastpath.errors import InvalidArgument, UnsupportedFeature

LAYOUTS = _abi.LAYOUTS


def regenerated() -> str:
    if shutil.which("clang") is None:
        pytest.skip("the header is compiled by clang, which is missing")
    try:
        return gen_abi.generate()
    except UnsupportedFeature as exc:
        pytest.skip(str(exc))


def test_the_generated_module_is_what_the_header_gives() -> None:
    assert gen_abi.GENERATED.read_text() == regenerated(), "run tools/gen_abi.py"


@pytest.mark.parametrize("name", LAYOUTS.structs)
def test_formats_have_the_offsets_and_the_size_that_the_compiler_made(name: str) -> None:
    layout = LAYOUTS.structs[name]
    packed = struct.Struct(layout.format)
    assert packed.size == layout.size
    for field in layout.fields.values():
        value = packed.unpack(
            bytes(field.offset) + b"\xff" * field.size + bytes(layout.size - field.offset - field.size)
        )
        assert sum(bool(one if isinstance(one, int) else one.strip(b"\0")) for one in value) == 1


def test_classes_have_the_fields_of_their_structures() -> None:
    for kind, name in ((_abi.FpEvent, "fp_event"), (_abi.FpKey, "fp_key"), (_abi.FpRoot, "fp_root")):
        assert kind._fields == tuple(LAYOUTS.structs[name].fields)


def changed(**fields: Field | None) -> Layouts:
    """The layouts with some fields of fp_key changed, or removed."""
    key = LAYOUTS.structs["fp_key"]
    kept = {name: field for name, field in {**key.fields, **fields}.items() if field is not None}
    return Layouts({"fp_key": replace(key, fields=kept)}, {})


def test_the_same_layouts_are_accepted() -> None:
    LAYOUTS.require(LAYOUTS, "x.bpf.o")
    LAYOUTS.require(Layouts({}, {"fp_kind": LAYOUTS.enums["fp_kind"]}), "x.bpf.o")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (changed(dev=Field(12, 4, "I")), "struct fp_key: dev is 'I' at offset 12, not 'I' at offset 8"),
        (changed(dev=Field(8, 4, "i")), "struct fp_key: dev is 'i' at offset 8, not 'I' at offset 8"),
        (changed(dev=None), "struct fp_key: dev is missing, not 'I' at offset 8"),
        (changed(fsid=Field(16, 8, "Q")), "struct fp_key: fsid is 'Q' at offset 16, not missing"),
        (Layouts({}, {"fp_kind": {"FP_EVENT": 2}}), "enum fp_kind: FP_EVENT is 2, not 1"),
        (Layouts({"fp_key": replace(LAYOUTS.structs["fp_key"], size=24)}, {}), "struct fp_key has 24 bytes, not 16"),
    ],
)
def test_another_layout_is_refused_with_field_and_offset(other: Layouts, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        LAYOUTS.require(other, "x.bpf.o")
    assert str(caught.value).startswith("x.bpf.o was not made for this version of the package: ")
    assert says in str(caught.value)
