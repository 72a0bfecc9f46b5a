"""The parts of the runner that need no machine."""

import subprocess
from pathlib import Path

import pytest
from vmtier import initramfs, kernels, suite
from vmtier.errors import VmError

MADISON = """\
linux-image-6.12.9+bpo-cloud-amd64 | 6.12.9-1~bpo12+1 | http://example.org bookworm-backports/main amd64 Packages
linux-image-6.12.117+deb12-cloud-amd64 | 6.12.117-1~deb12u1 | http://example.org bookworm/main amd64 Packages
linux-image-6.12.117+deb12-cloud-amd64-dbg | 6.12.118-1 | http://example.org bookworm/main amd64 Packages
linux-image-6.12-cloud-amd64 | 6.12.118-1 | http://example.org bookworm/main amd64 Packages
linux-image-6.1.0-56-cloud-amd64 | 6.1.192-2 | http://example.org bookworm/main amd64 Packages
linux-image-6.1.0-9-cloud-amd64 | 6.1.27-1 | http://example.org bookworm/main amd64 Packages
"""


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("6.12", ("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1")),
        ("6.1", ("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2")),
    ],
)
def test_the_newest_kernel_of_a_series_is_chosen(series: str, expected: tuple[str, str]) -> None:
    assert kernels.newest(series, MADISON) == expected


def test_a_series_that_apt_does_not_have_is_said_to_be_missing() -> None:
    with pytest.raises(VmError, match=r"linux-image-5\.10"):
        kernels.newest("5.10", MADISON)


def unpacked(directory: Path, release: str, version: str) -> kernels.Kernel:
    kernel = kernels.Kernel(version, release, directory / release)
    kernel.modules.mkdir(parents=True)
    (kernel.directory / "version").write_text(f"{version}-1")
    return kernel


def test_the_newest_cached_kernel_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.CACHE_VARIABLE, str(tmp_path))
    assert kernels.cached("6.1") is None
    newest = unpacked(tmp_path / "6.1", "6.1.0-56-cloud-amd64", "6.1.192")
    unpacked(tmp_path / "6.1", "6.1.0-9-cloud-amd64", "6.1.27")
    assert kernels.cached("6.1") == newest


def test_modules_are_loaded_after_those_that_they_need(tmp_path: Path) -> None:
    kernel = unpacked(tmp_path, "1", "1")
    (kernel.modules / "modules.dep").write_text(
        "a/virtiofs.ko.xz: b/fuse.ko.xz b/virtio.ko.xz b/virtio_ring.ko.xz\n"
        "b/fuse.ko.xz:\nb/virtio.ko.xz: b/virtio_ring.ko.xz\nb/virtio_ring.ko.xz:\n"
    )
    (kernel.modules / "modules.builtin").write_text("kernel/drivers/virtio-pci.ko\n")
    found = initramfs.modules_to_load(kernel, ("virtio_pci", "virtio", "virtiofs"))
    assert [path.name for path in found] == ["virtio_ring.ko.xz", "virtio.ko.xz", "fuse.ko.xz", "virtiofs.ko.xz"]
    with pytest.raises(VmError, match="no module loop"):
        initramfs.modules_to_load(kernel, ("loop",))


@pytest.mark.skipif(not initramfs.BUSYBOX.exists(), reason="no busybox here")
def test_archives_can_be_unpacked(tmp_path: Path) -> None:
    files = {"vm/command": b"\xff\n", "vm/empty": b"", "init": b"four"}
    command = [str(initramfs.BUSYBOX), "cpio", "-i"]
    subprocess.run(command, input=initramfs.cpio(["vm"], files), cwd=tmp_path, capture_output=True, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_results_are_summed_up() -> None:
    junit = (
        '<testsuites><testsuite tests="9" skipped="2" failures="1" errors="1"/>'
        '<testsuite tests="3" skipped="0" failures="0" errors="0"/></testsuites>'
    )
    assert suite.summary(junit) == "8 passed, 2 skipped, 2 failed"
