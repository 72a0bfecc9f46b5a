"""The kernel engine: programs in the kernel decide about events before any of them is made."""
