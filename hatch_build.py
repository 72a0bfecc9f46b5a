"""
The build hook: what lies between the kernel's record and its event is compiled, from Python to C by mypyc, or is in C.

pyproject.toml lists the modules. An editable install has them beside their sources, a wheel in it. Without a working C
compiler and Python's headers, or with FANFP_PURE=1 in the environment, nothing is compiled: what is in Python works the
same, slower, and what is in C is missing, with the engine that needs it. That one also needs the programs in bpf/,
which clang compiles for the kernel.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PURE_SWITCH = "FANFP_PURE"
SRC = "src"
INCLUDE = "bpf/include"
#: where the programs for the kernel go, below the package
OBJECTS = "_bpf/objects"
#: where the headers for handlers in C go
HEADERS = "_bpf/include"
#: the modules in C are only for these machines
IS_64_BIT = sys.maxsize > 1 << 32
PACKAGE = "fanotify_fastpath"
#: and whose types it must know, because the modules that it compiles import others that use them
COMPILER = ["mypy[mypyc]>=2,<3", "msgspec>=0.19"]
#: what the package needs to compile its own handlers
HANDLER_COMPILER = ["cffi>=1.15", "llvmlite>=0.45"]
#: no debugging symbols, though Debian's Python asks for them; and calls inside the library go straight
C_FLAGS = ["-O2", "-g0", "-fvisibility=hidden", "-fno-plt"]
#: -g: what is called what, which the kernel and libbpf must know
BPF_FLAGS = ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]


class CompileHook(BuildHookInterface[BuilderConfig]):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling."""
        return [] if why_pure() else [*COMPILER, *HANDLER_COMPILER]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the wheel is put together."""
        source = Path(self.root, SRC)
        is_editable = version == "editable"
        if is_editable:
            remove_compiled(source)
        # removed with this object: a wheel is put together after this method
        self._made = tempfile.TemporaryDirectory()
        directory = Path(self._made.name)
        self._add(copy_headers(Path(self.root), directory), build_data, is_editable)
        reason = why_pure()
        if reason:
            self.app.display_warning(f"{PACKAGE} is not compiled: slower, and without the kernel engine: {reason}")
            return
        made = compile_modules(source, self.config["modules"], self.config["c-modules"], directory)
        try:
            made += compile_programs(Path(self.root), directory)
        except (OSError, subprocess.CalledProcessError) as exc:
            self.app.display_warning(f"{PACKAGE} is made without the kernel engine: clang: {exc}")
        else:
            made += compile_handlers(Path(self.root), directory)
        self._add(made, build_data, is_editable)
        if not is_editable:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def _add(self, made: list[Path], build_data: dict[str, Any], is_editable: bool) -> None:
        """Put files beside the sources, or into the wheel."""
        directory, source = Path(self._made.name), Path(self.root, SRC)
        for path in made:
            inside = path.relative_to(directory)
            if is_editable:
                (source / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, source / inside)
            else:
                build_data["force_include"][str(path)] = str(inside)


def why_pure() -> str | None:
    """Tell why nothing is to be compiled here, None if it is. Whether it can be is found by trying."""
    if os.environ.get(PURE_SWITCH, "0") not in ("", "0"):
        return f"{PURE_SWITCH} is set"
    if sys.implementation.name != "cpython":
        return f"this is {sys.implementation.name}, and extensions are made for CPython"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as directory:
        test = Path(directory, "test.c")
        test.write_text("#include <Python.h>\n")
        include = sysconfig.get_path("include")
        command = [*compiler, "-shared", "-fPIC", f"-I{include}", str(test), "-o", f"{directory}/test.so"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as exc:
            return f"no C compiler: {compiler[0]}: {exc.strerror}"
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
        return f"the C compiler or Python's headers are missing or do not work: {said.strip()}"
    return None


def remove_compiled(source: Path) -> None:
    """Remove what an earlier build left, of this interpreter or another."""
    for pattern in ("*.so", "*.bpf.o", "*.bc"):
        for path in source.rglob(pattern):
            path.unlink()


def compile_modules(source: Path, modules: list[str], c_modules: list[str], directory: Path) -> list[Path]:
    """
    Compile modules: those in Python into one library, each in C into one of its own.

    :param modules: paths relative to *source*
    :param c_modules: likewise
    :param directory: where the files made lie as they do below *source*
    :return: these files
    """
    from mypyc.build import mypycify
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    missing = [module for module in modules + c_modules if not Path(source, module).is_file()]
    if missing:
        raise FileNotFoundError(f"pyproject.toml lists modules that are not there: {', '.join(missing)}")
    config = source.parent / "pyproject.toml"
    # in the source's directory, because tracebacks name the files as they are given here
    with tempfile.TemporaryDirectory() as intermediate, contextlib.chdir(source):
        extensions = mypycify(
            [f"--config-file={config}", f"--cache-dir={intermediate}/cache", *modules],
            group_name=PACKAGE,  # of the library that holds the code, PACKAGE__mypyc; the modules only stand for it
            target_dir=f"{intermediate}/c",
        )
        for extension in extensions:  # a warning of another compiler is no reason to fail
            flags = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
            extension.extra_compile_args = [*flags, *C_FLAGS]
        include = str(source.parent / INCLUDE)
        for module in c_modules if IS_64_BIT else ():
            name = module.removesuffix(".c").replace("/", ".")
            extensions.append(Extension(name, [module], include_dirs=[include], extra_compile_args=C_FLAGS))
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.build_lib = str(directory)
        command.build_temp = f"{intermediate}/o"
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    return sorted(directory.rglob("*.so"))


def copy_headers(root: Path, directory: Path) -> list[Path]:
    """
    Copy the headers that a handler in C includes.

    :param root: of the project
    :param directory: where the copies lie as they do below the source
    :return: these
    """
    to = directory / PACKAGE / HEADERS
    to.mkdir(parents=True)
    return [Path(shutil.copy2(header, to)) for header in sorted(Path(root, INCLUDE).glob("handler*.h"))]


def compile_programs(root: Path, directory: Path) -> list[Path]:
    """
    Compile the programs for the kernel.

    :param root: of the project
    :param directory: where the files made lie as they do below the source
    :return: these files
    :raises OSError: there is no clang
    :raises subprocess.CalledProcessError: it does not accept them
    """
    machine = {"x86_64": "x86", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    made = []
    for program in sorted(root.glob("bpf/*.bpf.c")):
        to = directory / PACKAGE / OBJECTS / program.with_suffix(".o").name
        to.parent.mkdir(parents=True, exist_ok=True)
        # under relative names, because the object holds them
        command = ["clang", *BPF_FLAGS, f"-D__TARGET_ARCH_{machine}", f"-I{INCLUDE}"]
        subprocess.run([*command, "-c", str(program.relative_to(root)), "-o", str(to)], check=True, cwd=root)
        made.append(to)
    # what a compiled handler is linked with: for LLVM, not for the kernel
    frame = directory / PACKAGE / OBJECTS / "handler_frame.bc"
    flags = [*BPF_FLAGS, f"-I{INCLUDE}", "-emit-llvm", "-fdebug-compilation-dir=."]
    command = ["clang", *flags, "-c", "bpf/handler_frame.c", "-o", str(frame)]
    subprocess.run(command, check=True, cwd=root)
    return [*made, frame]


def compile_handlers(root: Path, directory: Path) -> list[Path]:
    """
    Compile the handlers that come with the package, by its own compiler.

    :param directory: where the programs that they are linked with lie, and the files made
    :return: these files
    :raises subprocess.CalledProcessError: one cannot be compiled
    """
    objects = directory / PACKAGE / OBJECTS
    # the path is set there: where this build has its own tools, what is set for it from outside is taken away again
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
        f"from {PACKAGE}.builtin import BUILTIN; from {PACKAGE}.compiling import ship; "
        "ship(BUILTIN, *map(Path, sys.argv[2:]))"
    )
    command = [sys.executable, "-c", code, str(root / SRC), str(objects / "handler_frame.bc"), str(objects)]
    subprocess.run(command, check=True)
    return sorted(objects.glob("handlers/*"))
