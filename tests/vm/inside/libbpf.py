"""As much of libbpf as it takes to load a program, attach it, and read its ring buffer."""

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
_POINTER = ctypes.c_void_p
_ON_RECORD = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_size_t)
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, _POINTER)

for _name, _result, _arguments in (
    ("libbpf_set_print", _POINTER, (_PRINT,)),
    ("bpf_object__open_file", _POINTER, (ctypes.c_char_p, _POINTER)),
    ("bpf_object__load", ctypes.c_int, (_POINTER,)),
    ("bpf_object__close", None, (_POINTER,)),
    ("bpf_object__next_program", _POINTER, (_POINTER, _POINTER)),
    ("bpf_object__find_map_fd_by_name", ctypes.c_int, (_POINTER, ctypes.c_char_p)),
    ("bpf_program__attach", _POINTER, (_POINTER,)),
    ("bpf_link__destroy", ctypes.c_int, (_POINTER,)),
    ("ring_buffer__new", _POINTER, (ctypes.c_int, _ON_RECORD, _POINTER, _POINTER)),
    ("ring_buffer__consume", ctypes.c_int, (_POINTER,)),
    ("ring_buffer__free", None, (_POINTER,)),
):
    _function = getattr(_lib, _name)
    _function.restype, _function.argtypes = _result, _arguments


class Failed(Exception):
    """
    A call failed.

    :ivar call: "open", "load", "attach" or "ring"
    :ivar number: the error number; the kernel's own ones above 511 have no name
    """

    def __init__(self, call: str, number: int) -> None:
        super().__init__(f"{call}: error {number}")
        self.call = call
        self.number = number


class Attached:
    """A program that is loaded and attached, with the ring buffer that it writes to."""

    def __init__(self, ring: int, records: list[bytes]) -> None:
        self._ring = ring
        self._records = records

    def records(self) -> list[bytes]:
        """Take what is in the ring buffer."""
        self._records.clear()
        _lib.ring_buffer__consume(self._ring)
        return list(self._records)


@contextmanager
def attached(path: Path, ring_name: str) -> Iterator[Attached]:
    """
    Load and attach the only program of an object file, as long as the block runs.

    :raises Failed: the kernel refuses
    """
    records: list[bytes] = []

    def on_record(_: int, data: int, size: int) -> int:
        records.append(ctypes.string_at(data, size))
        return 0

    callback = _ON_RECORD(on_record)
    with ExitStack() as stack:
        program_file = _checked("open", _lib.bpf_object__open_file(str(path).encode(), None))
        stack.callback(_lib.bpf_object__close, program_file)
        result = _lib.bpf_object__load(program_file)
        if result != 0:
            raise Failed("load", -result)
        link = _checked("attach", _lib.bpf_program__attach(_lib.bpf_object__next_program(program_file, None)))
        stack.callback(_lib.bpf_link__destroy, link)
        map_fd = _lib.bpf_object__find_map_fd_by_name(program_file, ring_name.encode())
        ring = _checked("ring", _lib.ring_buffer__new(map_fd, callback, None, None))
        stack.callback(_lib.ring_buffer__free, ring)
        yield Attached(ring, records)


def _checked(call: str, pointer: int | None) -> int:
    if pointer is None:
        raise Failed(call, ctypes.get_errno())
    return pointer
