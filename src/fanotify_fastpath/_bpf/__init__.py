"""
The user half of the boundary to BPF programs in the kernel.

libbpf loads them (``libbpf``, by the declarations in ``_cdefs``).
"""
