"""Where Prometheus reads what the daemon tells: over HTTP, on a Unix socket or a loopback address."""

import contextlib
import os
import socket
import socketserver
import stat
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Protocol

from fanotify_fastpath._closing import Closing
from fanotify_fastpath._daemon.logs import log_failure
from fanotify_fastpath.errors import KernelRefused, UnsupportedFeature

#: a reader that says or takes nothing for so long has gone; others wait meanwhile
_PATIENCE_S: Final = 5.0
_UNIX: Final = "unix:"
#: of the Unix socket: root's alone
_SOCKET_UMASK: Final = 0o177
_PATHS: Final = ("/", "/metrics")


class Collector(Protocol):
    """What tells figures, as ``prometheus_client`` calls it."""

    def collect(self) -> Any: ...


class Metrics(Closing):
    """
    Serves figures in a thread of its own, one reader after the other.

    :param address: ``unix:/path``, ``127.0.0.1:port`` or ``[::1]:port``
    :param collector: tells them
    :raises UnsupportedFeature: ``prometheus_client`` is not installed
    :raises KernelRefused: it cannot listen there
    """

    def __init__(self, address: str, collector: Collector) -> None:
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector
        except ImportError:
            raise UnsupportedFeature(
                f"metrics on {address} need prometheus_client: pip install 'fanotify-fastpath[metrics]'"
            ) from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._path = address.removeprefix(_UNIX) if address.startswith(_UNIX) else None
        try:
            self._server = _Server(address, registry)
        except OSError as exc:
            raise KernelRefused(f"cannot serve metrics on {address}: {exc.strerror or exc}", exc.errno) from None
        except OverflowError as exc:
            raise KernelRefused(f"cannot serve metrics on {address}: {exc}") from None
        self._is_over = False
        self._thread = threading.Thread(target=self._serve, name="fanfpd-metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Any:
        """Where it listens, as the socket has it."""
        return self._server.socket.getsockname()

    def _serve(self) -> None:
        while not self._is_over:  # serve_forever would look twice a second whether it is over
            self._server.handle_request()

    def close(self) -> None:
        """Serve no more."""
        self._is_over = True
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # whoever waits for a reader sees that
        self._thread.join()
        self._server.server_close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


class _Server(socketserver.TCPServer):
    """One reader at a time: whatever they do, there is one thread."""

    allow_reuse_address = True
    request_queue_size = 8

    def __init__(self, address: str, registry: Any) -> None:
        self.registry = registry
        if address.startswith(_UNIX):
            self.address_family = socket.AF_UNIX
            path = address.removeprefix(_UNIX)
            _remove_stale(path)
            old_umask = os.umask(_SOCKET_UMASK)
            try:
                super().__init__(path, _Reader)  # type: ignore[arg-type]  # of a Unix socket, a path
            finally:
                os.umask(old_umask)
            return
        host, _, port = address.rpartition(":")
        self.address_family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        super().__init__((host.strip("[]"), int(port)), _Reader)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """That a reader goes away is nothing to speak of; all else is logged."""
        import sys

        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            log_failure("metrics failed", error)


class _Reader(BaseHTTPRequestHandler):
    """One request, and the end."""

    server: _Server
    timeout = _PATIENCE_S
    server_version = "fanfpd"
    sys_version = ""

    def do_GET(self) -> None:
        """Tell everything."""
        if self.path.partition("?")[0] not in _PATHS:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        text = encode(self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Who reads is not logged."""

    def address_string(self) -> str:
        """A Unix socket's other end has no address."""
        return "-"


def _remove_stale(path: str) -> None:
    """Another daemon cannot be there: each has a lock on its own socket before."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
