"""The frame and compiled code, linked, optimized, and made an object for the kernel."""

import struct
import subprocess
import sys
from typing import Any

from fanotify_fastpath.errors import InvalidArgument, UnsupportedFeature

_TARGET = """\
target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpf"

"""
#: the first level at which every kernel that has trampolines understands all instructions
_CPU = "v3"
_LENGTH = struct.Struct("=Q")


def link(ir: str, frame: bytes) -> bytes:
    """
    Make an object, in a process of its own: LLVM ends the process where it cannot go on.

    :param ir: that defines ``handle``
    :param frame: bitcode that calls it
    :raises UnsupportedFeature: llvmlite is not installed
    :raises InvalidArgument: LLVM cannot make a program of it
    """
    binding()
    command = [sys.executable, "-m", "fanotify_fastpath._compiler.linking"]
    done = subprocess.run(
        command, input=_LENGTH.pack(len(frame)) + frame + ir.encode(), capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise InvalidArgument(f"LLVM cannot make a program of this handler: {said[-1]}")
    return done.stdout


def _link_here(ir: str, frame: bytes) -> bytes:
    llvm = binding()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    context = llvm.create_context()
    module = llvm.parse_bitcode(frame, context)
    module.link_in(llvm.parse_assembly(_TARGET + ir, context))
    # inlined, and no program of its own
    module.get_function("handle").linkage = "internal"
    return _make(llvm, module)


def make_object(bitcode: bytes) -> bytes:
    """
    Make an object of a module that is complete.

    :param bitcode: for BPF
    :raises InvalidArgument: it is none
    :raises UnsupportedFeature: llvmlite is not installed
    """
    llvm = binding()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        module = llvm.parse_bitcode(bitcode, llvm.create_context())
    except RuntimeError as exc:
        raise InvalidArgument(f"this is no bitcode of LLVM: {exc}") from None
    if not module.triple.startswith("bpf"):
        raise InvalidArgument(f"this is bitcode for {module.triple!r}; compile it with clang -target bpf")
    return _make(llvm, module)


def _make(llvm: Any, module: Any) -> bytes:
    module.verify()
    machine = llvm.Target.from_triple("bpf").create_target_machine(cpu=_CPU, opt=2)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def binding() -> Any:
    """
    LLVM.

    :raises UnsupportedFeature: llvmlite is not installed
    """
    try:
        import llvmlite.binding as llvm
    except ImportError as exc:
        raise UnsupportedFeature("compiling handlers needs llvmlite: pip install 'fanotify-fastpath[compile]'") from exc
    return llvm


def main() -> None:
    """Read the length of the frame, the frame and the code; write the object."""
    given = sys.stdin.buffer.read()
    end = _LENGTH.size + _LENGTH.unpack_from(given)[0]
    sys.stdout.buffer.write(_link_here(given[end:].decode(), given[_LENGTH.size : end]))


if __name__ == "__main__":
    main()
