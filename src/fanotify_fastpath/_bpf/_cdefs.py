"""What is used of libbpf, as its headers declare it, and what it says while it works."""

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fanotify_fastpath.errors import UnsupportedFeature

SONAME = "libbpf.so.1"

# libbpf.h, bpf.h and linux/bpf.h of libbpf 1.1. Structures that begin with their size may end before newer fields;
# of a bpf_*_info the kernel fills as much as fits.
DECLARATIONS = """
struct bpf_object_open_opts {
    size_t sz; const char *object_name; bool relaxed_maps; const char *pin_root_path; uint32_t unused;
    const char *kconfig; const char *btf_custom_path; char *kernel_log_buf; size_t kernel_log_size;
    uint32_t kernel_log_level; uint32_t padding;
};
struct bpf_map_create_opts {
    size_t sz; uint32_t btf_fd; uint32_t btf_key_type_id; uint32_t btf_value_type_id;
    uint32_t btf_vmlinux_value_type_id; uint32_t inner_map_fd; uint32_t map_flags; uint64_t map_extra;
    uint32_t numa_node; uint32_t map_ifindex;
};
struct bpf_test_run_opts {
    size_t sz; const void *data_in; void *data_out; uint32_t data_size_in; uint32_t data_size_out;
    const void *ctx_in; void *ctx_out; uint32_t ctx_size_in; uint32_t ctx_size_out;
    uint32_t retval; int repeat; uint32_t duration; uint32_t flags; uint32_t cpu; uint32_t batch_size;
};
struct bpf_iter_attach_opts { size_t sz; void *link_info; uint32_t link_info_len; uint32_t padding; };
/* union bpf_iter_link_info: of a map its descriptor, of tasks the thread and the process */
union bpf_iter_of {
    struct { uint32_t map_fd; } map; struct { uint32_t tid; uint32_t pid; uint32_t pid_fd; } task; uint64_t room[2];
};
struct bpf_map_info {
    uint32_t type; uint32_t id; uint32_t key_size; uint32_t value_size; uint32_t max_entries; uint32_t map_flags;
    char name[16]; uint32_t ifindex; uint32_t btf_vmlinux_value_type_id; uint64_t netns_dev; uint64_t netns_ino;
    uint32_t btf_id; uint32_t btf_key_type_id; uint32_t btf_value_type_id; uint32_t padding; uint64_t map_extra;
};
struct bpf_prog_info {
    uint32_t type; uint32_t id; uint8_t tag[8]; uint32_t jited_prog_len; uint32_t xlated_prog_len;
    uint64_t jited_prog_insns; uint64_t xlated_prog_insns; uint64_t load_time; uint32_t created_by_uid;
    uint32_t nr_map_ids; uint64_t map_ids; char name[16]; uint32_t ifindex; uint32_t gpl_compatible;
    uint64_t netns_dev; uint64_t netns_ino; uint32_t nr_jited_ksyms; uint32_t nr_jited_func_lens;
    uint64_t jited_ksyms; uint64_t jited_func_lens; uint32_t btf_id; uint32_t func_info_rec_size;
    uint64_t func_info; uint32_t nr_func_info; uint32_t nr_line_info; uint64_t line_info; uint64_t jited_line_info;
    uint32_t nr_jited_line_info; uint32_t line_info_rec_size; uint32_t jited_line_info_rec_size;
    uint32_t nr_prog_tags; uint64_t prog_tags; uint64_t run_time_ns; uint64_t run_cnt; uint64_t recursion_misses;
    uint32_t verified_insns; uint32_t attach_btf_obj_id; uint32_t attach_btf_id; uint32_t padding;
};
struct btf_type { uint32_t name_off; uint32_t info; uint32_t size_or_type; };
struct btf_member { uint32_t name_off; uint32_t type; uint32_t offset_bits; };
struct btf_array { uint32_t type; uint32_t index_type; uint32_t n; };
struct btf_var_secinfo { uint32_t type; uint32_t offset; uint32_t size; };
struct btf_enum { uint32_t name_off; int32_t value; };
struct bpf_object; struct bpf_program; struct bpf_map; struct bpf_link; struct btf;

typedef int (*libbpf_print_fn_t)(int level, const char *format, void *arguments);
libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t function);
const char *libbpf_version_string(void);
int libbpf_strerror(int error, char *text, size_t size);
int libbpf_num_possible_cpus(void);

struct bpf_object *bpf_object__open_file(const char *path, const struct bpf_object_open_opts *opts);
struct bpf_object *bpf_object__open_mem(const void *data, size_t size, const struct bpf_object_open_opts *opts);
int bpf_object__load(struct bpf_object *object);
void bpf_object__close(struct bpf_object *object);
struct bpf_program *bpf_object__next_program(const struct bpf_object *object, struct bpf_program *previous);
struct bpf_map *bpf_object__next_map(const struct bpf_object *object, const struct bpf_map *previous);
struct btf *bpf_object__btf(const struct bpf_object *object);
struct btf *btf__load_vmlinux_btf(void);
void btf__free(struct btf *btf);
int32_t btf__find_by_name_kind(const struct btf *btf, const char *name, uint32_t kind);
uint32_t btf__type_cnt(const struct btf *btf);
const struct btf_type *btf__type_by_id(const struct btf *btf, uint32_t id);
const char *btf__name_by_offset(const struct btf *btf, uint32_t offset);
int64_t btf__resolve_size(const struct btf *btf, uint32_t id);

const char *bpf_program__name(const struct bpf_program *program);
const char *bpf_program__section_name(const struct bpf_program *program);
int bpf_program__fd(const struct bpf_program *program);
int bpf_program__set_autoload(struct bpf_program *program, bool is_wanted);
bool bpf_program__autoload(const struct bpf_program *program);
int bpf_program__set_attach_target(struct bpf_program *program, int program_fd, const char *function);
struct bpf_link *bpf_program__attach(const struct bpf_program *program);
struct bpf_link *bpf_program__attach_iter(const struct bpf_program *program, const struct bpf_iter_attach_opts *opts);
int bpf_prog_test_run_opts(int program_fd, struct bpf_test_run_opts *opts);
int bpf_link__fd(const struct bpf_link *link);
int bpf_link__destroy(struct bpf_link *link);
int bpf_iter_create(int link_fd);

const char *bpf_map__name(const struct bpf_map *map);
int bpf_map__fd(const struct bpf_map *map);
int bpf_map__set_type(struct bpf_map *map, uint32_t type);
int bpf_map__set_key_size(struct bpf_map *map, uint32_t size);
int bpf_map__set_value_size(struct bpf_map *map, uint32_t size);
int bpf_map__set_max_entries(struct bpf_map *map, uint32_t n);
int bpf_map__set_autocreate(struct bpf_map *map, bool is_wanted);
int bpf_map__set_inner_map_fd(struct bpf_map *map, int fd);
int bpf_map__reuse_fd(struct bpf_map *map, int fd);
const void *bpf_map__initial_value(struct bpf_map *map, size_t *size);
int bpf_map__set_initial_value(struct bpf_map *map, const void *value, size_t size);
int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries,
                   const struct bpf_map_create_opts *opts);
int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags);
int bpf_map_lookup_elem(int fd, const void *key, void *value);
int bpf_map_delete_elem(int fd, const void *key);
int bpf_map_get_next_key(int fd, const void *key, void *next);

int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *size);
int bpf_obj_pin(int fd, const char *path);
int bpf_map_get_fd_by_id(uint32_t id);
int bpf_enable_stats(int type);

int vasprintf(char **text, const char *format, void *arguments);
void free(void *memory);
"""

_LOG = re.compile(r"-- BEGIN PROG LOAD LOG --\n(.*?)-- END PROG LOAD LOG --", re.DOTALL)
_LEVEL_DEBUG = 2


@dataclass(slots=True)
class Said:
    """
    What libbpf printed during a call of this thread.

    :ivar lines: warnings and remarks, without the verifier's log
    :ivar log: the log of the last program whose load was refused
    """

    lines: list[str] = field(default_factory=list)
    log: str = ""

    def take(self, text: str) -> None:
        """Take what the library printed at once."""
        found = _LOG.search(text)
        if found is not None:
            self.log = found[1]
            return
        for line in text.splitlines():
            self.lines.append(line.removeprefix("libbpf: ").strip())


class _Listening(threading.local):
    to: Said | None = None


_listening = _Listening()


@contextmanager
def listening() -> Iterator[Said]:
    """Collect what libbpf prints in this thread; nobody sees what it prints otherwise."""
    library().print_here()
    said, before = Said(), _listening.to
    _listening.to = said
    try:
        yield said
    finally:
        _listening.to = before


class Library:
    """
    The library, opened.

    :ivar ffi: the declarations; makes and casts C values
    :ivar c: the functions
    """

    def __init__(self) -> None:
        from cffi import FFI

        self.ffi: Any = FFI()
        self.ffi.cdef(DECLARATIONS)
        try:
            self.c: Any = self.ffi.dlopen(SONAME)
        except OSError as exc:
            text = f"cannot load programs into the kernel: {SONAME} (Debian: libbpf1) cannot be opened: {exc}"
            raise UnsupportedFeature(text) from exc
        self._libc: Any = self.ffi.dlopen(None)
        # kept here, because the library keeps only its address
        self._printer = self.ffi.callback("int(int, const char *, void *)", self._on_print)
        self.print_here()

    def print_here(self) -> None:
        """Have the library print to us, also when somebody else in this process has had it print to him since."""
        self.c.libbpf_set_print(self._printer)

    def _on_print(self, level: int, template: Any, arguments: Any) -> int:
        # as an argument, a va_list is a pointer or is passed as one (x86-64, arm64, riscv64, s390x, ppc64le)
        said = _listening.to
        if said is None or level >= _LEVEL_DEBUG:
            return 0
        made = self.ffi.new("char **")
        if self._libc.vasprintf(made, template, arguments) >= 0:
            said.take(self.ffi.string(made[0]).decode(errors="replace"))
            self._libc.free(made[0])
        return 0

    def why(self, code: int) -> str:
        """Name an error number of the kernel or of libbpf."""
        if code == _ENOTSUPP:
            return "not supported (ENOTSUPP)"
        text = self.ffi.new("char[]", 128)
        self.c.libbpf_strerror(code, text, 128)
        name = errno.errorcode.get(code)
        says = str(self.ffi.string(text).decode(errors="replace"))
        return f"{says} ({name})" if name else says


#: the kernel's own, which C libraries have no name for
_ENOTSUPP = 524


_opening = threading.Lock()
_opened: list[Library] = []


def library() -> Library:
    """
    Open libbpf, once.

    :raises UnsupportedFeature: it is not installed
    """
    if not _opened:
        with _opening:  # a second one would take over what is printed, and be forgotten with its function
            if not _opened:
                _opened.append(Library())
    return _opened[0]
