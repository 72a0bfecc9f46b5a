"""
Virtual machines whose only variable is the kernel: Debian's, unpacked and never installed.

The machine's root filesystem is the host's own, read-only, so that what is installed there runs inside, too.

``kernels`` fetches them, ``initramfs`` and ``guest`` bring a machine up, ``shares`` gives it files, ``machine`` runs
it, and ``suite`` runs tests in it.
"""
