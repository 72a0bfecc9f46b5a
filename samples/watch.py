"""Print who changes what below a directory: ``watch.py DIRECTORY``."""

import sys

import fanotify_fastpath as fan

with fan.watch(sys.argv[1]) as events:
    for event in events:
        print(event.comm, event.tgid, ",".join(event.names), event.path, flush=True)
