"""Text for people: names with odd bytes made printable, so that a file name cannot write on the terminal."""

import re

# C0 and C1 controls, DEL, the backslash itself, lone surrogates (bytes that are no UTF-8), line and paragraph
# separators, and the characters that turn the direction of text around.
_ODD = re.compile("[\x00-\x1f\\\\\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def decode(raw: bytes) -> str:
    """Decode a name as UTF-8, whatever the locale; each byte that is none becomes a surrogate escape."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The opposite of :func:`decode`."""
    return text.encode("utf-8", "surrogateescape")


def escape(text: str) -> str:
    """Make a name printable, and keep it unambiguous: ``\\n``, ``\\x1b``, ``\\xff``, and ``\\\\`` for a backslash."""
    return _ODD.sub(_escape_one, text)


def printable(text: str) -> str:
    """Make a sentence printable; backslashes stay, since what was quoted in it is escaped already."""
    return _ODD.sub(lambda match: "\\" if match[0] == "\\" else _escape_one(match), text)


def _escape_one(match: re.Match[str]) -> str:
    char = match[0]
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
