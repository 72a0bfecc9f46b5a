"""
What the user's process and its guardian say to each other: framed tuples of plain values over a socket pair.

Both ends run the same interpreter and trust each other as parent and child do. ``marshal`` is enough, and unlike
pickle it makes no objects: a message holds None, booleans, integers, strings, bytes, tuples, lists, dicts and
frozensets only.

========== ============ ===================================================================================
from       message      then
========== ============ ===================================================================================
user       configure    request id, state: replaces all that was said before; answered by ``done``
user       answer       ask id, is it allowed, error number
user       close        answer what waits, say what is left to say, end
guardian   done         request id, error (None, or a tuple: error number, text, path)
guardian   event        fields of an :class:`~fanotify_fastpath.events.Event`
guardian   ask          ask id, fields, ids of the attachments still to be asked, ids of the root sets that it is in
guardian   counts       attachment id → (seen, skipped, denied) since the last time
guardian   lost         number of events that the user's process was too slow to take
guardian   gone         key of a root that was deleted
guardian   unmounted    filesystem id, path of its mountpoint
========== ============ ===================================================================================
"""

import marshal
import struct
from collections.abc import Iterator
from typing import Any

Message = tuple[Any, ...]
_LENGTH = struct.Struct("=I")


def pack(message: Message) -> bytes:
    """Turn one message into bytes."""
    payload = marshal.dumps(message)
    return _LENGTH.pack(len(payload)) + payload


class Unpacker:
    """Turns a stream of bytes back into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Add what was received; yields the messages that are complete now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            message = marshal.loads(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield message
