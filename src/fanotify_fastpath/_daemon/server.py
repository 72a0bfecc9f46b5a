"""
The server: it listens, starts a session for each client, and does what signals and the service manager ask for.

All of it is one loop in the main thread, which never waits for a session and never ends for want of anything.
"""

import contextlib
import errno
import logging
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from fanotify_fastpath._daemon.account import Accounts
from fanotify_fastpath._daemon.activation import Notifier
from fanotify_fastpath._daemon.config import CONFIG_PATH, Config
from fanotify_fastpath._daemon.descriptors import Descriptors, of_this_process
from fanotify_fastpath._daemon.figures import Figures
from fanotify_fastpath._daemon.group import ClientGroup
from fanotify_fastpath._daemon.kernel_group import KernelGroup, kernel_engine
from fanotify_fastpath._daemon.listening import Listener, listen
from fanotify_fastpath._daemon.logs import log, log_bounded, log_failure, set_level
from fanotify_fastpath._daemon.metrics import Metrics
from fanotify_fastpath._daemon.peer import Peer
from fanotify_fastpath._daemon.policy import Policy, socket_gid
from fanotify_fastpath._daemon.session import Session
from fanotify_fastpath._engines.fanotify import kernel_group as fanotify_groups
from fanotify_fastpath._uapi import capabilities
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath.errors import FastpathError, NotPermitted

#: the engine that "auto" means: it serves on every filesystem
_AUTO: Final = ClientGroup.engine_name
_NEEDED: Final = ("CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: connections accepted before anything else is looked at
_ACCEPTS_PER_TURN: Final = 16
#: when there is no descriptor left, or no memory: nobody is accepted for so long
_PAUSE_S: Final = 0.2
#: sessions that have not ended by then are left behind
_END_S: Final = 1.0
#: of a thread: there may be thousands
_STACK_BYTES: Final = 1 << 20


class Server:
    """
    Serves until a signal ends it.

    :param load: reads the configuration anew
    """

    server_name: str
    engine_name: str

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        listener: Listener,
        notifier: Notifier,
        descriptors: Descriptors,
    ) -> None:
        from fanotify_fastpath import __version__

        self.server_name = f"fanfpd {__version__}"
        self.engine_name = _AUTO if config.daemon.engine == "auto" else config.daemon.engine
        self._config = config
        self._load = load
        self._policy = Policy(config)
        self._listener = listener
        self._notifier = notifier
        self.descriptors = descriptors
        self._accounts = Accounts(config.daemon.max_connections, config.path or CONFIG_PATH)
        self._sessions: dict[int, Session] = {}
        self._change = threading.Condition()
        self._paused_until_s = 0.0
        about = {"version": __version__, "engine": self.engine_name}
        accounts = self._accounts
        self.figures = Figures(about, self._groups, accounts.counted, lambda: accounts.n_connections)

    # --- for sessions ---

    def statuses(self, uid: int, after: int) -> tuple[list[messages.GroupStatus], bool]:
        """
        Tell about groups, from any thread.

        :param uid: who asks: 0 for all, others for their own
        :param after: only groups of a greater number
        :return: some of them, and whether there are more
        """
        with self._change:
            sessions = [session for number, session in sorted(self._sessions.items()) if number > after]
        told: list[messages.GroupStatus] = []
        for session in sessions:
            if uid in (0, session.peer.uid):
                status = session.status(with_others=uid == 0)
                if status is not None and len(told) == messages.GROUPS_MAX:
                    return told, True
                if status is not None:
                    told.append(status)
        return told, False

    def ended(self, session: Session) -> None:
        """A session has ended, and has closed all that it had."""
        with self._change:
            self._sessions.pop(session.number, None)
            self._change.notify_all()
        status = session.status(with_others=True)
        if status is not None:
            self.figures.ended(status)

    def _groups(self) -> list[messages.GroupStatus]:
        with self._change:
            sessions = list(self._sessions.values())
        told = (session.status(with_others=True) for session in sessions)
        return [status for status in told if status is not None]

    # --- the loop ---

    def serve(self) -> bool:
        """
        Serve until SIGTERM or SIGINT.

        :return: whether all sessions have ended; else some hang, and only the end of the process ends them
        """
        with _signals() as signals:
            self._notifier.ready(f"serving {self._listener.path}")
            log(logging.INFO, "serving", socket=self._listener.path, engine=self.engine_name, tgid=os.getpid())
            log(logging.INFO, "as many groups can be had", together=self.descriptors.n_groups_max)
            while True:
                poller = select.poll()
                poller.register(signals, select.POLLIN)
                if time.monotonic() >= self._paused_until_s:
                    self._paused_until_s = 0.0
                    poller.register(self._listener.socket, select.POLLIN)
                ready = {fd for fd, _ in poller.poll(self._patience_ms())}
                self._notifier.alive()
                if signals in ready:
                    numbers = os.read(signals, 64)
                    if signal.SIGTERM in numbers or signal.SIGINT in numbers:
                        break
                    self._reload()
                if self._listener.socket.fileno() in ready:
                    self._accept()
            return self._end()

    def _patience_ms(self) -> float | None:
        waits_s = []
        if self._notifier.watchdog_s is not None:
            waits_s.append(self._notifier.watchdog_s / 3)
        if self._paused_until_s:
            waits_s.append(max(0.0, self._paused_until_s - time.monotonic()) + 0.001)
        return min(waits_s) * 1000 if waits_s else None

    def _accept(self) -> None:
        """Accept who waits; what goes wrong is logged, and tried again."""
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, _ = self._listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno not in (errno.ECONNABORTED, errno.EINTR):
                    self._paused_until_s = time.monotonic() + _PAUSE_S
                    log_bounded(logging.WARNING, "cannot accept clients for a while", error=exc.strerror)
                    return
                continue
            try:
                self._welcome(connection)
            except Exception as exc:
                log_failure("a client could not be served", exc)
                connection.close()

    def _welcome(self, connection: socket.socket) -> None:
        """Start a session, or refuse it in one message."""
        with contextlib.ExitStack() as undo:
            channel = Channel(connection, messages.decode_request)
            undo.callback(channel.close)
            peer = Peer.of(connection)
            undo.callback(peer.close)
            who = {"uid": peer.uid, "tgid": peer.tgid, "comm": peer.comm}
            try:
                rights = self._policy.of(peer.credentials)
                rights.check_connect()
                account = self._accounts.connect(peer.uid, rights.limits)
                undo.callback(account.close)
                session = Session(self, channel, peer, rights, account)
                undo.pop_all()
                undo.callback(session.close)
                with self._change:
                    self._sessions[session.number] = session
                undo.callback(self.ended, session)
                session.start()
                undo.pop_all()
            except (FastpathError, OSError, RuntimeError, MemoryError) as exc:
                log_bounded(logging.WARNING, "refused a client", **who, error=exc)
                with contextlib.suppress(FastpathError, OSError):
                    channel.send(messages.failure(0, exc), timeout_s=0.0)
                return
        log_bounded(logging.DEBUG, "connected", session=session.number, **who)

    def _reload(self) -> None:
        """Read the configuration anew; when it is wrong, all stays as it is."""
        self._notifier.reloading()
        try:
            config = self._load()
            policy = Policy(config)
        except Exception as exc:
            log(logging.ERROR, "the configuration is not taken, the old one stays", error=exc)
        else:
            self._use(config, policy)
        self._notifier.ready(f"serving {self._listener.path}")

    def _use(self, config: Config, policy: Policy) -> None:
        for name in ("socket", "mode", "group", "engine", "metrics"):
            if getattr(config.daemon, name) != getattr(self._config.daemon, name):
                log(logging.WARNING, "this takes effect when the daemon is started anew", key=name)
        self._config, self._policy = config, policy
        self._accounts.max_connections = config.daemon.max_connections
        set_level(config.daemon.log_level)
        with self._change:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.use_rights(policy.of(session.peer.credentials))
        log(logging.INFO, "the configuration was read anew", path=config.path or "none", sessions=len(sessions))

    def _end(self) -> bool:
        """Let nobody in, send everybody away, and wait for that, but not for long."""
        self._notifier.stopping()
        self._listener.close()
        with self._change:
            n_sessions = len(self._sessions)
            for session in self._sessions.values():
                session.stop("the daemon is stopping")
            self._change.wait_for(lambda: not self._sessions, _END_S)
            n_left = len(self._sessions)
        log(logging.INFO, "stopped", sessions=n_sessions, left_hanging=n_left)
        return not n_left


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of signals are read that have come."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def wake(number: int, frame: FrameType | None) -> None:
        """The number is in the pipe."""

    old = {number: signal.signal(number, wake) for number in _SIGNALS}
    old_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old_fd)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def serve(config: Config, load: Callable[[], Config]) -> None:
    """
    Be the daemon, until SIGTERM or SIGINT. Where sessions hang then, the process ends here.

    :param load: reads the configuration anew
    :raises NotPermitted: capabilities are missing
    :raises KernelRefused: another daemon serves that socket, or metrics cannot be served
    """
    check_capable()
    descriptors = of_this_process()
    threading.stack_size(_STACK_BYTES)
    notifier = Notifier()
    with (
        listen(config.daemon.socket, config.daemon.mode, socket_gid(config)) as listener,
        contextlib.ExitStack() as exits,
    ):
        if config.daemon.engine == KernelGroup.engine_name:
            exits.enter_context(kernel_engine())
        server = Server(config, load, listener, notifier, descriptors)
        if config.daemon.metrics is not None:
            exits.enter_context(Metrics(config.daemon.metrics, server.figures))
        has_ended = server.serve()
    if not has_ended:
        leave()


def check_capable() -> None:
    """
    Check that this process can serve at all.

    :raises NotPermitted: capabilities are missing
    :raises UnsupportedFeature: the kernel is too old
    """
    missing = [name for name in _NEEDED if not capabilities.has(name)]
    if missing:
        raise NotPermitted(f"the daemon cannot work without {', '.join(missing)}; start it as root")
    fanotify_groups.KernelGroup().close()


def leave() -> None:
    """
    End the process though threads hang, perhaps so that even the kernel cannot end them.

    Such a thread keeps all that is open as long as it lives; so it is closed before.
    """
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os._exit(0)
