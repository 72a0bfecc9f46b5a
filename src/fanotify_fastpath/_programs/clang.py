"""C, compiled for the kernel by clang with this package's headers."""

import platform
import shutil
import subprocess
from importlib import resources
from typing import Final

from fanotify_fastpath.errors import InvalidArgument, UnsupportedFeature

_FLAGS: Final = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter")


def compile_c(path: str) -> bytes:
    """
    Compile a file.

    :return: content of the object file
    :raises InvalidArgument: clang does not accept it, with what clang says
    :raises UnsupportedFeature: there is no clang
    """
    clang = shutil.which("clang")
    if clang is None:
        raise UnsupportedFeature("compiling C needs clang: apt install clang libbpf-dev, or give an object file")
    with resources.as_file(resources.files("fanotify_fastpath._bpf").joinpath("include")) as include:
        # <asm/types.h> is below the machine's name on Debian
        headers = ("-I", str(include), "-idirafter", f"/usr/include/{platform.machine()}-linux-gnu")
        done = subprocess.run([clang, *_FLAGS, *headers, "-c", path, "-o", "-"], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").rstrip()
        hint = "\n(apt install libbpf-dev)" if "'bpf/bpf_helpers.h' file not found" in said else ""
        raise InvalidArgument(f"clang does not accept {path}:\n{said}{hint}")
    return done.stdout
