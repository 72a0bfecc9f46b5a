"""What :mod:`fanotify_fastpath.doctor` finds out, one module for each thing that is tried."""
