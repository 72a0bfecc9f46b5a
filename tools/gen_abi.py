"""
Write ``src/fanotify_fastpath/_bpf/_abi.py`` from ``bpf/include/fp_views.h`` and the headers that it includes.

usage: python tools/gen_abi.py [--check]

The headers are compiled by clang, and the types are read from the BTF in the object, so that what Python believes is
what the compiler made. With ``--check`` nothing is written: the exit code is 1 when the file is not what would be
written.
"""

import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fanotify_fastpath._bpf.layout import Layout, Layouts
from fanotify_fastpath._bpf.libbpf import Object

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "bpf" / "include"
HEADER = INCLUDE / "fp_views.h"  # which includes the others
HEADERS = (HEADER, INCLUDE / "fp_abi.h", INCLUDE / "handler.h")
GENERATED = ROOT / "src" / "fanotify_fastpath" / "_bpf" / "_abi.py"
PREFIX = "fp_"
_DEFINED = re.compile(rf"^(struct|enum) ({PREFIX}\w+) {{", re.MULTILINE)

_HEAD = '''\
"""
What the programs in the kernel and user space both read: structures by name, numbers as enumerations.

Written by tools/gen_abi.py from bpf/include/fp_abi.h, fp_views.h and handler.h; to change it, change these and run the
tool.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from fanotify_fastpath._bpf.layout import Field, Layout, Layouts
'''


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    text = generate()
    if "--check" not in arguments:
        GENERATED.write_text(text)
        return 0
    if GENERATED.read_text() == text:
        return 0
    print(f"{GENERATED.relative_to(ROOT)} is not what {INCLUDE.relative_to(ROOT)} gives: run tools/gen_abi.py")
    return 1


def generate() -> str:
    """The text of the module."""
    layouts = compiled_layouts()
    parts = [_HEAD]
    parts += [f"\n\n{_enum_class(name, numbers)}" for name, numbers in sorted(layouts.enums.items())]
    parts += [f"\n\n{_record_class(name, layout)}" for name, layout in sorted(layouts.structs.items())]
    parts.append(f"\n\n{_constant(layouts)}")
    return "".join(parts)


def compiled_layouts() -> Layouts:
    """What clang makes of the headers, for BPF."""
    text = "".join(header.read_text() for header in HEADERS)
    # clang keeps a type only if something outside of functions uses it; libbpf leaves the section ".export" alone
    exports = "".join(
        f'const {kind} {name} *export_{name} __attribute__((section(".export"), used)) = 0;\n'
        for kind, name in _DEFINED.findall(text)
    )
    # the types of <linux/types.h>, which not every machine has for BPF
    types = "".join(
        f"typedef unsigned {c_type} __u{bits};\n"
        for bits, c_type in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    )
    types += "typedef int __s32;\n"
    with tempfile.TemporaryDirectory() as directory:
        source, made = Path(directory, "abi.bpf.c"), Path(directory, "abi.bpf.o")
        source.write_text(f'{types}#include "{HEADER.name}"\n{exports}')
        subprocess.run(
            ["clang", "-O2", "-g", "-target", "bpf", f"-I{INCLUDE}", "-c", str(source), "-o", str(made)], check=True
        )
        with Object.open_file(made) as found:
            return found.layouts(PREFIX)


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _enum_class(name: str, numbers: Mapping[str, int]) -> str:
    lines = [f"class {_class_name(name)}(IntEnum):", f'    """``enum {name}``."""', ""]
    lines += [f"    {member.removeprefix('FP_')} = {number}" for member, number in numbers.items()]
    return "\n".join(lines) + "\n"


def _record_class(name: str, layout: Layout) -> str:
    if struct.calcsize(layout.format) != layout.size:
        raise ValueError(f"struct {name} has padding")
    lines = [f"class {_class_name(name)}(NamedTuple):", f'    """``struct {name}``, as unpacked."""', ""]
    for field_name, field in layout.fields.items():
        lines.append(f"    {field_name}: {'bytes' if field.code.endswith('s') else 'int'}")
    return "\n".join(lines) + "\n"


def _constant(layouts: Layouts) -> str:
    return "\n".join(["#: all of it", "LAYOUTS: Final = Layouts(", *_structs(layouts), *_enums(layouts), ")"]) + "\n"


def _structs(layouts: Layouts) -> Iterator[str]:
    yield "    structs={"
    for name, layout in sorted(layouts.structs.items()):
        yield f'        "{name}": Layout('
        yield f"            size={layout.size},"
        yield "            fields={"
        for field_name, one in layout.fields.items():
            yield f'                "{field_name}": Field({one.offset}, {one.size}, "{one.code}"),'
        yield "            },"
        yield "        ),"
    yield "    },"


def _enums(layouts: Layouts) -> Iterator[str]:
    yield "    enums={"
    for name, numbers in sorted(layouts.enums.items()):
        yield f'        "{name}": {{'
        yield from (f'            "{member}": {number},' for member, number in numbers.items())
        yield "        },"
    yield "    },"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
