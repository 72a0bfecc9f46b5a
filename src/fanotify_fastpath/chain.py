"""
The chain: the handlers that one group has, in order, and the rules of attaching them.

Each event goes through the chain from the front. The first handler that skips or denies ends it; an event that every
handler sends is sent.
"""

import errno
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath.arguments import ARGS_MAX_BYTES, check_arguments, unpack_arguments
from fanotify_fastpath.errors import (
    FastpathError,
    HandlerBusy,
    HandlerRefused,
    InvalidArgument,
    NotPermitted,
)
from fanotify_fastpath.handlers import NAME_MAX_BYTES, Handler, HandlerEvent, HandlerFlags
from fanotify_fastpath.registry import Registry
from fanotify_fastpath.registry import registry as default_registry
from fanotify_fastpath.state import take_over
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, Verdict, VerdictKind

#: layout of struct fanotify_fastpath_args: name, version, flags, address of the arguments, their size
ARGS_LAYOUT = struct.Struct("<64sIIQI")
ARGS_VERSION = 1


@dataclass(slots=True)
class Tally:
    """What a handler was asked, and how it decided: in one place, user space or the kernel."""

    n_seen: int = 0
    n_skipped: int = 0
    n_denied: int = 0
    n_failed: int = 0

    def add(self, other: "Tally") -> None:
        """Count what another one has counted too."""
        self.n_seen += other.n_seen
        self.n_skipped += other.n_skipped
        self.n_denied += other.n_denied
        self.n_failed += other.n_failed


@dataclass(eq=False, slots=True)
class Attachment:
    """
    One handler attached to one group.

    :ivar handler: the instance that serves this attach
    :ivar exclusive: nothing else may be attached beside it
    :ivar arguments: of the attach, checked
    :ivar error: the last exception that it raised in user space
    :ivar obstacle: on engine ``kernel``, why it is asked in user space all the same
    :ivar tally: what it was asked in user space
    :ivar tally_in_kernel: tells what it was asked in the kernel
    :ivar give_back: called when it is detached
    """

    handler: Handler
    exclusive: bool = False
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    error: Exception | None = field(default=None, repr=False)
    obstacle: FastpathError | None = field(default=None, repr=False)
    tally: Tally = field(default_factory=Tally, repr=False)
    tally_in_kernel: Callable[[], Tally] = field(default=Tally, repr=False)
    give_back: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def name(self) -> str:
        """Name of the handler."""
        return self.handler.name

    @property
    def n_seen(self) -> int:
        """Events it was shown."""
        return self.tally.n_seen + self.tally_in_kernel().n_seen

    @property
    def n_skipped(self) -> int:
        """Events it skipped."""
        return self.tally.n_skipped + self.tally_in_kernel().n_skipped

    @property
    def n_denied(self) -> int:
        """Operations it denied."""
        return self.tally.n_denied + self.tally_in_kernel().n_denied

    @property
    def n_failed(self) -> int:
        """Events on which it raised; each was sent as undecided."""
        return self.tally.n_failed + self.tally_in_kernel().n_failed


class Chain:
    """
    The ordered handlers of one group.

    :param on_change: called after each attach, detach and change of a root set
    :param before_change: called before each
    :param registry: where names are looked up
    :param needs_right: handlers that are not flagged ``UNPRIVILEGED`` are for administrators
    """

    def __init__(
        self,
        on_change: Callable[[], None],
        before_change: Callable[[], None] = lambda: None,
        registry: Registry = default_registry,
        *,
        needs_right: bool = True,
    ) -> None:
        self._on_change = on_change
        self._before_change = before_change
        self._registry = registry
        self._needs_right = needs_right
        self._lock = threading.Lock()
        self.attachments: tuple[Attachment, ...] = ()

    def attach(
        self, handler: str | type[Handler], arguments: dict[str, Any], *, exclusive: bool = False, first: bool = False
    ) -> Attachment:
        """
        Attach one handler, testing in the RFC's order.

        :param handler: a registered name, or a handler class of one's own that need not be registered
        :param arguments: keyword arguments for it
        :param exclusive: refuse if anything is attached already, and keep others out
        :param first: put it before the others instead of behind them
        :return: the attachment
        :raises HandlerBusy: *exclusive*, and something is attached; or what is attached is exclusive
        :raises HandlerNotFound: no handler of that name
        :raises NotPermitted: the handler is for administrators
        :raises InvalidArgument: an argument is unknown, missing or wrong
        :raises HandlerRefused: its ``init`` refused
        """
        with self._lock:
            self._check_free(exclusive)
            kind = self._registry.get(handler) if isinstance(handler, str) else handler
            self._check_right(kind)
            attachment = self._make(kind, arguments, exclusive)
            for roots in attachment.handler.root_sets():
                roots.on_change(self._on_change, self._before_change)
            self._before_change()
            old = self.attachments
            self.attachments = (attachment, *old) if first else (*old, attachment)
        try:
            self._on_change()
        except FastpathError:  # what it asks about cannot be told
            self.detach(attachment)
            raise
        return attachment

    def attach_packed(self, request: bytes, init_args: bytes | None) -> Attachment:
        """
        Attach as the RFC's ioctl ``FAN_IOC_ADD_FP`` does.

        :param request: struct fanotify_fastpath_args, 84 bytes: name, version 1, flags 0, address, size
        :param init_args: the memory that the address stands for; None when it cannot be read
        :return: the attachment
        :raises InvalidArgument: EFAULT: *request* has not 84 bytes or *init_args* is None though a size was given;
            EINVAL: version, flags or size are not right, or the name has no end
        :raises: as :meth:`attach`; a second attach is always refused with EBUSY
        """
        if len(request) != ARGS_LAYOUT.size:
            raise InvalidArgument(f"the attach request has {len(request)} bytes, not {ARGS_LAYOUT.size}", errno.EFAULT)
        raw_name, version, flags, _, size = ARGS_LAYOUT.unpack(request)
        if version != ARGS_VERSION or flags != 0 or size > ARGS_MAX_BYTES:
            raise InvalidArgument(
                f"attach request version {version}, flags {flags:#x}, {size} bytes of arguments: only version "
                f"{ARGS_VERSION}, flags 0 and up to {ARGS_MAX_BYTES} bytes are known"
            )
        self._check_free(exclusive=True)
        name, end, _ = raw_name.partition(b"\0")
        if not end:
            raise InvalidArgument(f"the handler name has more than {NAME_MAX_BYTES} bytes")
        kind = self._registry.get(name.decode("utf-8", "surrogateescape"))
        self._check_right(kind)
        if size and (init_args is None or len(init_args) < size):
            raise InvalidArgument("the attach arguments cannot be read", errno.EFAULT)
        arguments = unpack_arguments(kind.arguments, (init_args or b"")[:size])
        return self.attach(kind, arguments, exclusive=True)

    def replace(self, attachment: Attachment, handler: str | type[Handler]) -> None:
        """
        Put other code in the place of an attached handler, with its arguments. Each event is judged by one of the two.

        What both remember in the same form is kept.

        :param handler: a registered name, or a class
        :raises InvalidArgument: *attachment* is not of this group, or its arguments do not fit
        :raises: as :meth:`attach`; then nothing has changed
        """
        with self._lock:
            if attachment not in self.attachments:
                raise InvalidArgument("that handler is not attached to this group")
            kind = self._registry.get(handler) if isinstance(handler, str) else handler
            self._check_right(kind)
            made = self._make(kind, attachment.arguments, attachment.exclusive)
            old, new = attachment.handler, made.handler
            take_over(new, old)
            for roots in new.root_sets():
                roots.on_change(self._on_change, self._before_change)
            attachment.handler, give_back = new, attachment.give_back
            attachment.give_back = made.give_back
        self._on_change()
        for roots in old.root_sets():
            if roots not in new.root_sets():
                roots.off_change(self._on_change)
        old.free()
        give_back()

    def detach(self, what: Attachment | str | None = None) -> None:
        """
        Detach; never fails, also when nothing is attached.

        :param what: one attachment, every attachment of one name, or None for all
        """
        if self.attachments:
            self._before_change()
        with self._lock:
            gone = [a for a in self.attachments if what is None or a is what or a.name == what]
            self.attachments = tuple(a for a in self.attachments if a not in gone)
        for attachment in gone:
            for roots in attachment.handler.root_sets():
                roots.off_change(self._on_change)
            attachment.handler.free()
            attachment.give_back()
        if gone:
            self._on_change()

    def judge(
        self, event: HandlerEvent, attachments: Iterable[Attachment] | None = None
    ) -> tuple[Verdict, Attachment | None, bool]:
        """
        Let the chain decide about one event.

        :param attachments: those that are to be asked, if not all
        :return: the verdict, the attachment that ended the chain (None when all sent), and whether one failed
        """
        failed = False
        for attachment in self.attachments if attachments is None else attachments:
            tally = attachment.tally
            tally.n_seen += 1
            try:
                verdict = attachment.handler.handle(event)
            except Exception as exc:  # a handler's bug must not end the stream: sent, said, counted
                tally.n_failed += 1
                attachment.error = exc
                failed = True
                continue
            if verdict is SEND_TO_USERSPACE:
                continue
            if verdict.kind is VerdictKind.DENY:
                tally.n_denied += 1
            elif verdict.kind is VerdictKind.SKIP_EVENT:
                tally.n_skipped += 1
            else:
                continue
            return verdict, attachment, failed
        return SEND_TO_USERSPACE, None, failed

    def _make(self, kind: type[Handler], arguments: dict[str, Any], exclusive: bool) -> Attachment:
        values = check_arguments(kind.arguments, arguments)
        give_back = self._registry.borrow(kind)
        try:
            return Attachment(_start(kind, values), exclusive, values, give_back=give_back)
        except BaseException:
            give_back()
            raise

    def _check_right(self, kind: type[Handler]) -> None:
        is_for_all = kind.flags & HandlerFlags.UNPRIVILEGED or not self._needs_right
        if not is_for_all and not capabilities.has("CAP_SYS_ADMIN"):
            raise NotPermitted(
                f"cannot attach handler {kind.name!r}: it is for administrators (CAP_SYS_ADMIN); "
                "handlers flagged UNPRIVILEGED work without"
            )

    def _check_free(self, exclusive: bool) -> None:
        if (exclusive and self.attachments) or any(a.exclusive for a in self.attachments):
            names = ", ".join(a.name for a in self.attachments)
            raise HandlerBusy(f"cannot attach: the group has {names} already; detach it first")


def _start(kind: type[Handler], arguments: dict[str, Any]) -> Handler:
    """Make the instance of one attach, turning a refusal of ``init`` into :exc:`HandlerRefused`."""
    handler = kind()
    try:
        handler.init(**arguments)
    except FastpathError:
        raise
    except OSError as exc:
        raise HandlerRefused(
            f"handler {kind.name!r} refused its arguments: {exc.strerror or exc}", exc.errno or errno.EINVAL
        ) from exc
    except (TypeError, ValueError) as exc:
        raise HandlerRefused(f"handler {kind.name!r} refused its arguments: {exc}") from exc
    return handler
