"""The parts of the runner that need no machine."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from vmtier import initramfs, kernels, several, skips, suite
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


JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a.test_x" name="test_one[ext4-1]"><skipped type="pytest.skip" message="too old"/></testcase>
<testcase classname="tests.a.test_x" name="test_two"/>
</testsuite></testsuites>"""


def one_skip(tests: str) -> list[skips.Skip]:
    return skips.read_list(f'[[skip]]\ntests = "{tests}"\nkernels = ["1"]\nreason = "so"\n')


def test_a_skip_must_be_listed() -> None:
    assert skips.skipped(JUNIT) == {"tests/a/test_x.py::test_one[ext4-1]": "too old"}
    assert skips.unexpected(JUNIT, one_skip("tests/a/test_x.py::test_one[*]"), is_complete=True) == []
    (wrong,) = skips.unexpected(JUNIT, one_skip("tests/a/test_x.py::test_one"), is_complete=False)
    assert "not listed" in wrong
    assert "tests/a/test_x.py::test_one[ext4-1]: too old" in wrong


def test_what_is_listed_must_be_skipped_when_all_is_run() -> None:
    listed = [*one_skip("tests/a/test_x.py::test_one[*]"), *one_skip("tests/a/test_x.py::test_two")]
    assert skips.unexpected(JUNIT, listed, is_complete=False) == []
    (wrong,) = skips.unexpected(JUNIT, listed, is_complete=True)
    assert wrong == "listed in skips.toml, but not skipped: tests/a/test_x.py::test_two"


def test_the_list_of_skips_names_tests_and_kernels_that_exist() -> None:
    root = skips.LIST.parents[2]
    for skip in skips.read_list(skips.LIST.read_text()):
        module, _, name = skip.tests.partition("::")
        assert f"def {name.partition('[')[0]}(" in (root / module).read_text()
        assert set(skip.kernels) <= set(suite.all_series())
        assert skip.reason


def test_what_several_print_is_told_apart_and_ends_with_the_last_line_of_each(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = several.run_all({"a": ["sh", "-c", "echo one; echo two"], "b": ["sh", "-c", "echo three; exit 7"]})
    lines = capfd.readouterr().out.splitlines()
    assert code == 7
    assert sorted(lines[:3]) == ["a| one", "a| two", "b| three"]
    assert lines[3:] == ["two", "three"]


def test_several_are_ended_together() -> None:
    script = (
        "import signal, sys; sys.path.insert(0, sys.argv[1]); from vmtier import several\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "several.run_all(dict.fromkeys('ab', ['sh', '-c', 'echo $$; exec sleep 1000']))\n"
    )
    tools = str(Path(several.__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", script, tools], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        pids = [int(runner.stdout.readline().partition("|")[2]) for _ in range(2)]
        assert all(Path("/proc", str(pid)).exists() for pid in pids)
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(30) == 143
    assert not any(Path("/proc", str(pid)).exists() for pid in pids)
