"""
Handlers as programs for the kernel: their code, what they remember, and asking one without an engine in the kernel.

A program that was not made of Python (``object_code``) becomes a handler by what it says of itself (``manifest``).
"""
