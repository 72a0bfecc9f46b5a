"""The permission half of the fanotify engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import UnsupportedFeature
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root
from fanotify_fastpath.verdict import Verdict

#: a user's callback: True allows, False denies
Decide = Callable[[Event], "Verdict | bool"]


@dataclass(frozen=True, slots=True)
class PermissionOptions:
    """
    How permission events are answered.

    :ivar decide: asked about events that every handler sends; None allows them and puts them into the stream
    :ivar timeout_s: seconds after which an event is answered anyway
    :ivar on_timeout: how
    """

    decide: Decide | None = None
    timeout_s: float = 2.0
    on_timeout: Literal["allow", "deny"] = "allow"


class PermissionEngine:
    """Answers permission events (:class:`~fanotify_fastpath._engines.base.MarkingEngine`)."""

    def __init__(self, options: PermissionOptions, deliver: Callable[[Event], None]) -> None:
        raise UnsupportedFeature("permission events are not built yet")

    def add_mark(self, mark: Mark) -> None: ...
    def remove_mark(self, mark: Mark) -> None: ...
    def add_root(self, mark: Mark, root: Root) -> None: ...
    def use_chain(self, chain: Chain) -> None: ...
    def refresh(self) -> None: ...
    def close(self) -> None: ...
