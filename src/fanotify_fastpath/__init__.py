"""
Who touched what under this directory, and forbidding it: subtree watching on fanotify, with handlers that decide early.

    >>> import fanotify_fastpath as fan
    >>> for event in fan.watch("/srv/data"):  # doctest: +SKIP
    ...     print(event.names, event.path, event.tgid, event.comm)
"""

from fanotify_fastpath.builtin import AllowDenyList, IgnorePrefix, MonitorSubtree
from fanotify_fastpath.chain import Attachment
from fanotify_fastpath.declaration import describe
from fanotify_fastpath.doctor import Check, EngineReport, LiveReport, PathReport, Report, diagnose
from fanotify_fastpath.errors import (
    Closed,
    CompileError,
    FastpathError,
    HandlerBusy,
    HandlerExists,
    HandlerNotFound,
    HandlerRefused,
    InvalidArgument,
    KernelRefused,
    LimitReached,
    NotPermitted,
    PathNotFound,
    ProtocolError,
    RegistryError,
    SourceRefused,
    UnsupportedFeature,
    UnsupportedFilesystem,
    VerifierError,
)
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.group import Group
from fanotify_fastpath.guard import Guard, guard
from fanotify_fastpath.handlers import Depends, Handler, HandlerEvent, HandlerFlags
from fanotify_fastpath.marks import Mark, Scope
from fanotify_fastpath.mask import Mask, mask_names, parse_mask
from fanotify_fastpath.registry import Registry, registry
from fanotify_fastpath.roots import Root, RootSet
from fanotify_fastpath.state import Counter, StateMap
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict, deny
from fanotify_fastpath.watch import Watch, awatch, watch

__version__ = "0.1.0"

__all__ = [
    "SEND_TO_USERSPACE",
    "SKIP_EVENT",
    "AllowDenyList",
    "Attachment",
    "Check",
    "Closed",
    "CompileError",
    "Counter",
    "Depends",
    "EngineReport",
    "Event",
    "FastpathError",
    "Group",
    "Guard",
    "Handler",
    "HandlerBusy",
    "HandlerEvent",
    "HandlerExists",
    "HandlerFlags",
    "HandlerNotFound",
    "HandlerRefused",
    "IgnorePrefix",
    "InvalidArgument",
    "KernelRefused",
    "LimitReached",
    "LiveReport",
    "Mark",
    "Mask",
    "MonitorSubtree",
    "NotPermitted",
    "PathNotFound",
    "PathReport",
    "Process",
    "ProtocolError",
    "Registry",
    "RegistryError",
    "Report",
    "Root",
    "RootSet",
    "Scope",
    "SourceRefused",
    "StateMap",
    "UnsupportedFeature",
    "UnsupportedFilesystem",
    "Verdict",
    "VerifierError",
    "Watch",
    "awatch",
    "deny",
    "describe",
    "diagnose",
    "guard",
    "mask_names",
    "parse_mask",
    "registry",
    "watch",
]
