"""The object files with the programs: which of them works here is found by trying."""

from importlib import resources

from fanotify_fastpath._bpf._abi import LAYOUTS
from fanotify_fastpath._bpf.libbpf import Link, Object, Program
from fanotify_fastpath._engines.kernel.ways import WAYS, Way, check, obstacle, unsupported
from fanotify_fastpath.errors import FastpathError


class Attached:
    """
    Programs that are loaded and attached.

    :ivar way: name of the object file
    :ivar object: it
    :ivar program: the one at fsnotify()
    :ivar handler_program: in objects of handlers, the name of those that it can call
    """

    def __init__(self, way: Way, *, with_views: bool) -> None:
        self.way = way.name
        self.handler_program = way.handler_program
        name = f"{way.name}_views.bpf.o" if with_views else f"{way.name}.bpf.o"
        data = resources.files("fanotify_fastpath._bpf").joinpath("objects", name).read_bytes()
        self.object = Object.open_bytes(data, "fanfp")
        try:
            LAYOUTS.require(self.object.layouts("fp_"), f"BPF object {way.name}")
            self.object.load()
            self.program: Program = self.object.program(way.program)
            self._link: Link = self.program.attach()
        except BaseException:
            self.object.close()
            raise

    def close(self) -> None:
        """Detach and unload."""
        self._link.close()
        self.object.close()


def attach_best(*, with_views: bool = False) -> Attached:
    """
    Load and attach the best that works here.

    :param with_views: groups are held for others
    :raises NotPermitted: capabilities are missing
    :raises UnsupportedFeature: nothing does, with the reason for each
    """
    check()
    reasons = []
    for way in WAYS:
        reason = obstacle(way)
        if reason is None:
            try:
                return Attached(way, with_views=with_views)
            except FileNotFoundError:
                reason = "this package was built without it (clang was missing)"
            except FastpathError as exc:
                reason = str(exc).splitlines()[0]
        reasons.append(f"{way.name}: {reason}")
    raise unsupported(reasons)
