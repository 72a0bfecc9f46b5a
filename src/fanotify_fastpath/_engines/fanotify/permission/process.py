"""The guardian as the user's process sees it: started, spoken to, waited for."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from fanotify_fastpath._engines.fanotify.permission.protocol import Message, Unpacker, pack
from fanotify_fastpath.errors import KernelRefused

#: what came after these many seconds counts as never; the dead man's switch has killed the guardian long before
_PATIENCE_S = 30.0
_END_S = 2.0
# Its own module path, whatever the environment and the working directory say.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fanotify_fastpath._engines.fanotify.permission.guardian import main; main()"
)


class GuardianDied(KernelRefused):
    """The guardian ended while it was asked something."""


class GuardianProcess:
    """
    One guardian, from its start to its end.

    :param timeout_s: seconds after which it answers anyway
    :param on_timeout: how
    :param on_message: called in the reading thread for all but ``done``
    :param on_end: called with this in the reading thread when it has ended
    """

    def __init__(
        self,
        timeout_s: float,
        on_timeout: str,
        on_message: Callable[[Message], None],
        on_end: "Callable[[GuardianProcess], None]",
    ) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._sock, theirs = socket.socketpair()
        self._send_lock = threading.Lock()
        self._ids = itertools.count(1)
        self._replies: dict[int, list[Any]] = {}
        self._replied = threading.Condition()
        self.has_ended = False
        # A file in memory takes what it has to say on stderr: a pipe could fill up and block it.
        self._stderr = os.memfd_create("guardian-stderr", os.MFD_CLOEXEC)
        with theirs:
            self._process = self._start(theirs, timeout_s, on_timeout)
        self._reader = threading.Thread(target=self._read, name="fanfp-guardian", daemon=True)
        self._reader.start()

    def _start(self, theirs: socket.socket, timeout_s: float, on_timeout: str) -> subprocess.Popen[bytes]:
        path = json.dumps([os.path.abspath(entry) for entry in sys.path])
        arguments = [str(theirs.fileno()), str(os.getpid()), repr(timeout_s), on_timeout]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # what stops or interrupts the user's terminal is not meant for it
        )

    @property
    def tgid(self) -> int:
        """Its process id."""
        return self._process.pid

    def request(self, kind: str, *values: Any) -> Any:
        """
        Ask for something and wait for the reply.

        :raises GuardianDied: it ended before it replied
        """
        request_id = next(self._ids)
        with self._replied:
            self._replies[request_id] = []
        self.send((kind, request_id, *values))
        with self._replied:
            reply = self._replies[request_id]
            self._replied.wait_for(lambda: reply or self.has_ended, _PATIENCE_S)
            del self._replies[request_id]
        if not reply:
            raise GuardianDied(f"the process that answers permission events has ended{self._last_words()}")
        return reply[0]

    def send(self, message: Message) -> None:
        """Send a message; nothing happens if it has ended."""
        with self._send_lock, contextlib.suppress(OSError):
            self._sock.sendall(pack(message))

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self.send(("close",))
        if threading.current_thread() is not self._reader:
            self._reader.join(_END_S)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self.reap()
        if threading.current_thread() is not self._reader:
            self._reader.join(_END_S)
        self._sock.close()
        os.close(self._stderr)

    def reap(self) -> None:
        """Wait for its end; kill it if that takes long."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        unpacker = Unpacker()
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            for message in unpacker.feed(data):
                if message[0] == "done":
                    self._reply(message[1], message[2])
                else:
                    self._on_message(message)
        with self._replied:
            self.has_ended = True
            self._replied.notify_all()
        self._on_end(self)

    def _reply(self, request_id: int, result: Any) -> None:
        with self._replied:
            waiting = self._replies.get(request_id)
            if waiting is not None:
                waiting.append(result)
            self._replied.notify_all()

    def _last_words(self) -> str:
        words = (
            os.pread(self._stderr, 4096, max(0, os.fstat(self._stderr).st_size - 4096)).decode(errors="replace").strip()
        )
        return f": {words}" if words else ""
