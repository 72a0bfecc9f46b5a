"""The kernel's fanotify interface: constants, system calls, and the layout of its records. No policy."""
