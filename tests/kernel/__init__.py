"""What needs programs in the kernel: loading them, and reading what they send."""
