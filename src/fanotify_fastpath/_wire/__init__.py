"""
What a client and the daemon say to each other: docs/protocol.md.

Messages go over a socket (``messages``, ``channel``, ``addresses``), events through a ring in shared memory
(``memory``, ``told``). Nothing here knows an engine, or decides about rights.
"""
