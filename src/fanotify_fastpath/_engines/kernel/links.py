"""The handlers of one group that are asked in the kernel: the first ones, as far as each can be."""

from collections.abc import Callable
from dataclasses import dataclass

from fanotify_fastpath._bpf._abi import FpLimit, FpLink
from fanotify_fastpath._bpf.maps import Map
from fanotify_fastpath._engines.kernel.dispatcher import Dispatcher
from fanotify_fastpath._engines.kernel.programs import Loaded
from fanotify_fastpath._programs.code import Code
from fanotify_fastpath.builtin.monitor_subtree import MonitorSubtree
from fanotify_fastpath.chain import Attachment, Tally
from fanotify_fastpath.errors import FastpathError, VerifierError
from fanotify_fastpath.handlers import Handler
from fanotify_fastpath.roots import RootSet
from fanotify_fastpath.state import take_over


@dataclass(frozen=True, slots=True)
class Applied:
    """
    A chain, as records tell it.

    :ivar number: of the chain
    :ivar attachments: those that the programs ask
    :ivar filters: those of them that have no program of their own, for which nothing is counted
    """

    number: int = 0
    attachments: tuple[Attachment, ...] = ()
    filters: tuple[Attachment, ...] = ()


class Links:
    """
    What the programs know of a group's handlers.

    :param code_of: gives a handler's code for the kernel, or raises why it has none
    """

    def __init__(self, dispatcher: Dispatcher, group: int, ring: Map, code_of: Callable[[type[Handler]], Code]) -> None:
        self._dispatcher = dispatcher
        self._group = group
        self._ring = ring
        self._code_of = code_of
        self._links: dict[Attachment, int] = {}
        self._loaded: dict[Attachment, Loaded] = {}
        # what the verifier does not accept, it is not shown again
        self._refused: dict[Attachment, Handler] = {}
        self._counted = self._needs = 0
        self.applied = Applied()

    def keep(self, attachments: tuple[Attachment, ...]) -> None:
        """Have only those asked that are still attached: what goes away must hold no event back."""
        kept = {}
        for attachment, mine in zip(attachments, self._links, strict=False):
            if attachment is not mine:
                break
            kept[attachment] = self._links[attachment]
        self._set(kept, self._counted)

    def update(self, attachments: tuple[Attachment, ...], slots: dict[int, int], counted: int) -> None:
        """
        Have these handlers asked, as far as it can be in the kernel.

        :param slots: of each root set, by its number
        :param counted: one bit for each slot from whose roots depth is counted
        """
        links = {}
        self._refused = {each: handler for each, handler in self._refused.items() if each in attachments}
        for attachment in attachments[: FpLimit.N_LINKS]:
            link = self._link(attachment, slots)
            if link is None:
                break
            links[attachment] = link
        self._set(links, counted)

    def close(self) -> None:
        """Let go of all."""
        self._set({}, 0)

    def _link(self, attachment: Attachment, slots: dict[int, int]) -> int | None:
        handler = attachment.handler
        if type(handler) is MonitorSubtree and not handler.block:
            return slots[handler.roots.set_id]
        loaded = self._loaded.get(attachment)
        if self._refused.get(attachment) is handler:
            return None
        if loaded is None or loaded.handler is not handler:
            try:
                self._loaded[attachment] = loaded = self._load(attachment, loaded, slots)
            except FastpathError as exc:
                if isinstance(exc, VerifierError):
                    self._refused[attachment] = handler
                attachment.obstacle = exc
                return None
        attachment.obstacle = None
        return loaded.number | FpLink.LINK_PROGRAM

    def _load(self, attachment: Attachment, old: Loaded | None, slots: dict[int, int]) -> Loaded:
        def slot_of(roots: RootSet) -> int | None:
            return slots.get(roots.set_id)

        programs, handler = self._dispatcher.programs, attachment.handler
        code = self._code_of(type(handler))
        if old is not None:
            # what the new one needs to know is told before it is asked
            self._change(self._links, self._needs | code.needs, self._counted)
            return programs.replace(old, code, handler, slot_of)
        loaded = programs.load(code, handler, slot_of)
        attachment.tally_in_kernel = lambda: Tally(*programs.counters(loaded))
        return loaded

    def _set(self, links: dict[Attachment, int], counted: int) -> None:
        needs = 0
        for attachment in links.keys() & self._loaded.keys():
            needs |= self._loaded[attachment].code.needs
        self._change(links, needs, counted)
        for attachment in self._loaded.keys() - links.keys():
            self._unload(attachment)

    def _change(self, links: dict[Attachment, int], needs: int, counted: int) -> None:
        is_same = list(links.items()) == list(self._links.items())
        if is_same and (needs, counted) == (self._needs, self._counted):
            return
        number = self._dispatcher.set_chain(self._group, list(links.values()), needs, counted)
        self._links, self._needs, self._counted = links, needs, counted
        filters = tuple(attachment for attachment in links if attachment not in self._loaded)
        self.applied = Applied(number, tuple(links), filters)
        self._dispatcher.wait_for_programs(self._group, self._ring)

    def _unload(self, attachment: Attachment) -> None:
        loaded = self._loaded.pop(attachment)
        last, attachment.tally_in_kernel = attachment.tally_in_kernel(), Tally
        attachment.tally.add(last)
        self._dispatcher.programs.unload(loaded)
        take_over(attachment.handler, loaded.handler)  # if another one is in its place
