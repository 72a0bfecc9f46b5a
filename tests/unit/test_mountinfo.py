"""mountinfo lines, as the kernel writes them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath._uapi.mountinfo import Mount, find_mount, parse_mount, read_mounts

LINE = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"


def escape(raw: bytes) -> bytes:
    """Escape as the kernel's show_mountinfo does: mangle_path with blank, tab, newline, backslash, and hash."""
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes((byte,)) for byte in raw)


def test_a_plain_line_has_all_fields() -> None:
    assert parse_mount(LINE) == Mount(
        mount_id=36,
        parent_id=35,
        dev=os.makedev(98, 0),
        root=b"/mnt1",
        mountpoint=b"/mnt2",
        options=("rw", "noatime"),
        fs_type="ext3",
        source=b"/dev/root",
        super_options=("rw", "errors=continue"),
    )


@pytest.mark.parametrize("optional", [b"", b" shared:1", b" shared:1 master:2 propagate_from:3 unbindable"])
def test_any_number_of_optional_fields_is_skipped(optional: bytes) -> None:
    assert parse_mount(LINE.replace(b" master:1", optional)) == parse_mount(LINE)


def test_large_device_numbers_are_kept() -> None:
    assert parse_mount(LINE.replace(b"98:0", b"4095:1048575")).dev == os.makedev(4095, 1048575)


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw))
def test_any_path_survives_the_kernels_escapes(raw: bytes) -> None:
    mount = parse_mount(LINE.replace(b"/mnt1", b"/" + escape(raw)).replace(b"/mnt2", b"/" + escape(raw)))
    assert mount.root == mount.mountpoint == b"/" + raw


def test_an_escaped_backslash_does_not_begin_another_escape() -> None:
    assert parse_mount(LINE.replace(b"/mnt2", rb"/a\134040b")).mountpoint == rb"/a\040b"


def test_a_lone_dash_as_a_name_is_not_the_separator() -> None:
    assert parse_mount(LINE.replace(b"/mnt2", b"/-")).mountpoint == b"/-"
    assert parse_mount(LINE.replace(b"/dev/root", b"-")).source == b"-"


def test_an_empty_source_is_empty() -> None:
    # mount("", dir, "tmpfs", ...) leaves two blanks in a row
    mount = parse_mount(LINE.replace(b"ext3 /dev/root", b"tmpfs "))
    assert (mount.fs_type, mount.source, mount.super_options) == ("tmpfs", b"", ("rw", "errors=continue"))


def test_a_subtype_stays_with_its_type() -> None:
    assert parse_mount(LINE.replace(b"ext3", b"fuse.sshfs")).fs_type == "fuse.sshfs"


@pytest.mark.parametrize("line", [b"", b"36 35 98:0 / /mnt rw", b"x 35 98:0 / /mnt rw - ext3 /dev/root rw"])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        parse_mount(line)


def test_mounts_keep_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(LINE.replace(b"36", b"40") + LINE + LINE.replace(b"36", b"38"))
    assert list(read_mounts(os.fspath(file))) == [40, 36, 38]


def test_a_name_that_ends_lines_elsewhere_does_not_end_a_line_here(tmp_path: Path) -> None:
    # str.splitlines and bytes.splitlines end a line at a carriage return too, which the kernel does not escape
    file = tmp_path / "mountinfo"
    file.write_bytes(LINE.replace(b"/mnt2", b"/a\rb\x0bc") + LINE.replace(b"36", b"38"))
    mounts = read_mounts(os.fspath(file))
    assert [mount.mountpoint for mount in mounts.values()] == [b"/a\rb\x0bc", b"/mnt2"]


def test_one_mount_is_found_by_its_whole_id(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(LINE.replace(b"36", b"361") + LINE + b"garbage\n")
    assert find_mount(36, os.fspath(file)) == parse_mount(LINE)
    assert find_mount(3, os.fspath(file)) is None


def test_of_a_long_list_only_the_beginning_is_searched(tmp_path: Path) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(LINE.replace(b"36", b"37") * 100 + LINE)
    assert find_mount(36, os.fspath(file), len(LINE) * 50) is None
    assert find_mount(36, os.fspath(file)) is not None


def test_without_a_list_there_is_no_mount(tmp_path: Path) -> None:
    assert find_mount(36, os.fspath(tmp_path / "none")) is None


def test_the_mounts_of_this_process_are_read() -> None:
    mounts = read_mounts()
    proc = [mount for mount in mounts.values() if mount.mountpoint == b"/proc"]
    assert proc[-1].dev == os.stat("/proc").st_dev
    assert all(mount_id == mount.mount_id for mount_id, mount in mounts.items())
