"""The frame and compiled code, linked, optimized, and made an object for the kernel."""

from typing import Any

from fanotify_fastpath._compiler.apart import make_apart
from fanotify_fastpath.errors import InvalidArgument, UnsupportedFeature

_TARGET = """\
target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpf"

"""
#: the first level at which every kernel that has trampolines understands all instructions
_CPU = "v3"


def link(ir: str, frame: bytes) -> bytes:
    """
    Make an object.

    :param ir: that defines ``handle``
    :param frame: bitcode that calls it
    :raises InvalidArgument: it needs more than a program may have: 512 bytes of stack, for example
    :raises UnsupportedFeature: llvmlite is not installed
    """
    llvm = binding()
    return make_apart(lambda: _emit(llvm, _linked(llvm, ir, frame)))


def make_object(bitcode: bytes) -> bytes:
    """
    Make an object of a module that is complete.

    :param bitcode: for BPF
    :raises InvalidArgument: it is none, or needs more than a program may have
    :raises UnsupportedFeature: llvmlite is not installed
    """
    llvm = binding()
    return make_apart(lambda: _emit(llvm, _read(llvm, bitcode)))


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


def _linked(llvm: Any, ir: str, frame: bytes) -> Any:
    module = llvm.parse_bitcode(frame)
    module.link_in(llvm.parse_assembly(_TARGET + ir))
    # inlined, and no program of its own; what is not called of the frame is not needed
    module.get_function("handle").linkage = "internal"
    return module


def _read(llvm: Any, bitcode: bytes) -> Any:
    try:
        module = llvm.parse_bitcode(bitcode)
    except RuntimeError as exc:
        raise InvalidArgument(f"this is no bitcode of LLVM: {exc}") from None
    if not module.triple.startswith("bpf"):
        raise InvalidArgument(f"this is bitcode for {module.triple!r}; compile it with clang -target bpf")
    return module


def _emit(llvm: Any, module: Any) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module.verify()
    machine = llvm.Target.from_triple("bpf").create_target_machine(cpu=_CPU, opt=2)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))
