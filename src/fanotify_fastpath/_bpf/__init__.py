"""
The user half of the boundary to BPF programs in the kernel.

libbpf loads them (``libbpf``, ``programs``, ``maps``; declared in ``_cdefs``). What they send is read by ``ring`` and
made into events by ``decoding``; their types are in ``_abi``, generated from the header that both sides read.
"""
