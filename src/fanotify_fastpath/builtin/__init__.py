"""The handlers that come with the package; importing this registers them."""

from fanotify_fastpath.builtin.allow_deny_list import AllowDenyList
from fanotify_fastpath.builtin.ignore_prefix import IgnorePrefix
from fanotify_fastpath.builtin.monitor_subtree import MonitorSubtree
from fanotify_fastpath.registry import registry

BUILTIN = (AllowDenyList, IgnorePrefix, MonitorSubtree)
for _handler in BUILTIN:
    registry.register(_handler)

__all__ = ["AllowDenyList", "IgnorePrefix", "MonitorSubtree"]
