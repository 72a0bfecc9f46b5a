"""Allowing and denying: permission events, answered so that a listener that dies, hangs or stops never blocks
anyone."""

from fanotify_fastpath._engines.fanotify.permission.engine import Decide, PermissionEngine, PermissionOptions

__all__ = ["Decide", "PermissionEngine", "PermissionOptions"]
