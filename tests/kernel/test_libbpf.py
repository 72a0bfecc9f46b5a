"""Loading, changing, running and attaching programs, and what is said when the kernel refuses."""

import errno
import os
import struct
import threading
from collections.abc import Iterator

import pytest

from fanotify_fastpath._bpf._cdefs import library
from fanotify_fastpath._bpf.libbpf import Map, MapType, Object, Program, enable_stats
from fanotify_fastpath._bpf.maps import EXIST, NOEXIST
from fanotify_fastpath.errors import Closed, InvalidArgument, KernelRefused, VerifierError

from .conftest import Compile


@pytest.fixture
def loaded(compiled: Compile) -> Iterator[Object]:
    with Object.open_file(compiled("multiply")) as program_file:
        program_file.load()
        yield program_file


def multiply(program: Program, number: int, cpu: int | None = None) -> int:
    return program.run(struct.pack("=Q", number), cpu=cpu).value


def table() -> Map:
    return Map.create(MapType.HASH, "table", 4, 8, 2)


def test_a_program_runs_and_returns_its_value(loaded: Object) -> None:
    assert multiply(loaded.program("multiply"), 21) == 42


def test_a_constant_set_before_the_load_is_what_the_program_sees(compiled: Compile) -> None:
    with Object.open_file(compiled("multiply")) as program_file:
        assert program_file.map(".rodata").initial[:8] == struct.pack("=Q", 2)
        program_file.map(".rodata").set_initial(struct.pack("=Q", 5) + program_file.map(".rodata").initial[8:])
        program_file.load()
        assert multiply(program_file.program("multiply"), 21) == 105


def test_what_a_program_writes_into_a_map_can_be_read_and_removed(loaded: Object) -> None:
    for number in (3, 4):
        multiply(loaded.program("multiply"), number)
    with loaded.map("products").open() as products:
        found = {key: products.lookup(key) for key in products.keys()}  # noqa: SIM118  (a generator's method)
        assert found == {struct.pack("=I", n): struct.pack("=Q", 2 * n) for n in (3, 4)}
        assert products.delete(struct.pack("=I", 3))
        assert not products.delete(struct.pack("=I", 3))
        assert products.lookup(struct.pack("=I", 3)) is None


def test_values_per_cpu_are_told_apart(loaded: Object) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    for cpu in cpus:
        for _ in range(cpu + 1):
            multiply(loaded.program("multiply"), 1, cpu)
    with loaded.map("runs").open() as runs:
        counts = [struct.unpack("=I", value)[0] for value in runs.lookup_per_cpu(bytes(4))]
    assert [counts[cpu] for cpu in cpus] == [cpu + 1 for cpu in cpus]


def test_an_iterator_writes_the_map_as_text(loaded: Object) -> None:
    for number in (3, 4):
        multiply(loaded.program("multiply"), number)
    with (
        loaded.map("products").open() as products,
        loaded.program("write_products").attach_iterator(products) as link,
        open(link.create_iterator()) as file,
    ):
        assert sorted(file) == ["3 6\n", "4 8\n"]


def test_runs_are_counted_while_statistics_are_on(loaded: Object) -> None:
    program = loaded.program("multiply")
    fd = enable_stats()
    try:
        before = program.info()
        multiply(program, 1)
        after = program.info()
    finally:
        os.close(fd)
    assert (before.name, before.n_recursion_misses) == ("multiply", 0)
    assert after.n_runs - before.n_runs == 1
    assert after.n_verified_insns > 0


def test_a_refused_program_is_named_with_the_telling_end_of_the_log(compiled: Compile) -> None:
    with (
        Object.open_file(compiled("multiply", REFUSED="1")) as program_file,
        pytest.raises(VerifierError) as caught,
    ):
        program_file.load()
    error = caught.value
    assert error.program == "reads_anywhere"
    assert error.errno == errno.EACCES
    last = str(error).splitlines()[-1]
    assert "invalid mem access" in last
    assert "processed " in error.log
    assert "processed " not in str(error)


def test_the_log_comes_though_somebody_else_has_the_library_print_to_him(compiled: Compile) -> None:
    library().c.libbpf_set_print(library().ffi.NULL)
    with Object.open_file(compiled("multiply", REFUSED="1")) as program_file, pytest.raises(VerifierError):
        program_file.load()


def test_a_program_that_is_not_wanted_is_not_loaded(compiled: Compile) -> None:
    with Object.open_file(compiled("multiply", REFUSED="1")) as program_file:
        program_file.program("reads_anywhere").set_wanted(False)
        program_file.load()
        assert multiply(program_file.program("multiply"), 2) == 4
        with pytest.raises(InvalidArgument, match="'reads_anywhere' is not loaded"):
            program_file.program("reads_anywhere").info()


def test_what_is_closed_says_so(compiled: Compile) -> None:
    with Object.open_file(compiled("multiply")) as program_file:
        program_file.load()
        products = program_file.map("products").open()
    program = program_file.program("multiply")
    with pytest.raises(Closed):
        program.run()
    with pytest.raises(Closed):
        program_file.load()
    assert products.lookup(bytes(4)) is None, "a map outlives its object"
    products.close()
    with pytest.raises(Closed):
        products.lookup(bytes(4))


def test_unknown_names_are_refused_with_the_known_ones(loaded: Object) -> None:
    with pytest.raises(InvalidArgument, match=r"no program 'divide'.*multiply, write_products"):
        loaded.program("divide")
    with pytest.raises(InvalidArgument, match=r"no map 'events'.*products"):
        loaded.map("events")


def test_what_is_no_object_file_is_refused_with_what_the_library_says() -> None:
    with pytest.raises(KernelRefused, match=r"'junk'.*\n.*not a proper ELF object"):
        Object.open_bytes(b"no object file", "junk")


def test_updates_obey_their_flags_and_the_size_of_the_map() -> None:
    with table() as entries:
        entries.update(b"aaaa", b"12345678", NOEXIST)
        entries.update(b"aaaa", b"87654321", EXIST)
        assert entries.lookup(b"aaaa") == b"87654321"
        with pytest.raises(KernelRefused) as caught:
            entries.update(b"aaaa", b"12345678", NOEXIST)
        assert caught.value.errno == errno.EEXIST
        with pytest.raises(KernelRefused) as caught:
            entries.update(b"bbbb", b"12345678", EXIST)
        assert caught.value.errno == errno.ENOENT
        entries.update(b"bbbb", b"12345678")
        with pytest.raises(KernelRefused) as caught:
            entries.update(b"cccc", b"12345678")
        assert caught.value.errno == errno.E2BIG


@pytest.mark.parametrize(("key", "value"), [(b"abc", b"12345678"), (b"abcde", b"12345678"), (b"abcd", b"")])
def test_keys_and_values_of_the_wrong_length_never_reach_the_kernel(key: bytes, value: bytes) -> None:
    with table() as entries, pytest.raises(InvalidArgument, match=r"whose (key|value)s have [48]"):
        entries.update(key, value)


def test_a_ring_buffer_can_be_kept_in_a_map_of_maps() -> None:
    page = os.sysconf("SC_PAGESIZE")
    with (
        Map.create(MapType.RINGBUF, "ring", max_entries=page) as ring,
        Map.create(MapType.HASH_OF_MAPS, "rings", 4, 4, 8, inner=ring) as rings,
    ):
        rings.update(b"grp1", struct.pack("=I", ring.fd))
        assert rings.lookup(b"grp1") is not None
        assert ring.max_entries == page


def test_each_thread_is_told_about_its_own_failure(compiled: Compile) -> None:
    path, errors = compiled("multiply", REFUSED="1"), []

    def refuse(number: int) -> None:
        for _ in range(10):
            try:
                if number:
                    with Object.open_file(path) as program_file:
                        program_file.load()
                else:
                    Object.open_bytes(b"no object file", "junk")
            except KernelRefused as exc:
                errors.append((number, type(exc), "ELF" in str(exc)))

    threads = [threading.Thread(target=refuse, args=(number,)) for number in (0, 1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(errors), key=str) == [(0, KernelRefused, True), (1, VerifierError, False)]
    assert len(errors) == 30
