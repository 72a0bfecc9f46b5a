"""Scenarios against the kernel through :mod:`fanotify_fastpath.lowlevel`; they need root. See docs/ltp-coverage.md."""
