"""
Handlers in Python for the engine in the kernel: from the source of a function to a BPF object.

One walk over the syntax tree follows the ranges of integers and what may be None, refuses what is not exact, and writes
LLVM's intermediate code; loops are walked until nothing new comes. :mod:`.function` begins it.
"""
