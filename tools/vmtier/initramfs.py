"""The first filesystem of a machine: modules for the root filesystem, scripts that mount it, and what is to be run."""

import lzma
import shutil
import stat
import subprocess
from pathlib import Path

from .errors import MissingTool, VmError
from .kernels import Kernel

#: what must be there before the root filesystem is: the bus, the root, the ports, and what makes the checkout writable
MODULES = ("virtio_pci", "virtiofs", "virtio_console", "overlay")
BUSYBOX = Path("/bin/busybox")
GUEST = Path(__file__).parent / "guest"


def build(kernel: Kernel, files: dict[str, bytes]) -> bytes:
    """
    Make an archive that the kernel unpacks into its first root.

    :param files: what the scripts read, below /vm
    """
    if not _is_static(BUSYBOX):
        raise MissingTool("a static busybox", "busybox-static")
    entries = {"bin/busybox": BUSYBOX.read_bytes(), "init": (GUEST / "early-init").read_bytes()}
    entries |= {"vm/init": (GUEST / "init").read_bytes(), "vm/busybox": entries["bin/busybox"]}
    entries |= {f"vm/{name}": content for name, content in files.items()}
    for number, path in enumerate(modules_to_load(kernel, MODULES)):
        entries[f"modules/{number:02}-{path.name.partition('.')[0]}.ko"] = _uncompressed(path)
    return cpio(["bin", "modules", "root", "vm"], entries)


def modules_to_load(kernel: Kernel, names: tuple[str, ...]) -> list[Path]:
    """
    The files of modules and of those that they need, in the order of loading; none for what is built in.

    :raises VmError: the kernel has no such module
    """
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[_module_name(path)] = [path, *others.split()]
    built_in = {_module_name(path) for path in (kernel.modules / "modules.builtin").read_text().splitlines()}
    order: list[str] = []
    for name in names:
        if name not in needs and name not in built_in:
            raise VmError(f"kernel {kernel.release} has no module {name}")
        # what a module needs stands behind it, and before what that needs in turn
        order += [path for path in reversed(needs.get(name, [])) if path not in order]
    return [kernel.modules / path for path in order]


def cpio(directories: list[str], files: dict[str, bytes]) -> bytes:
    """
    Pack an archive in the format of the kernel's own unpacker; every file is executable.

    :source: Documentation/driver-api/early-userspace/buffer-format.rst (v6.12)
    """
    parts = [_record(number, name, stat.S_IFDIR | 0o755, b"") for number, name in enumerate(directories, 1)]
    first = len(parts) + 1
    parts += [_record(first + n, name, stat.S_IFREG | 0o755, data) for n, (name, data) in enumerate(files.items())]
    return b"".join([*parts, _record(0, "TRAILER!!!", 0, b"")])


def _record(inode: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), device of a device file (2), length of the name, checksum
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + encoded) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _module_name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _uncompressed(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        if shutil.which("zstd") is None:
            raise MissingTool("zstd", "zstd")
        return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout
    return path.read_bytes()


def _is_static(program: Path) -> bool:
    return program.exists() and b"/ld-linux" not in program.read_bytes()
