"""Act once on a burst of changes, and read anew where events may be missing: ``batches.py DIRECTORY``."""

import sys

import fanotify_fastpath as fan

with fan.Group() as group:
    group.mark(sys.argv[1], fan.Mask.ALL_CHANGES | fan.Mask.ONDIR)
    # a batch ends when nothing came for 200 ms, or 2 s after its first event
    for batch in group.batches(quiet_ms=200, max_wait_ms=2000):
        changed = {event.path for event in batch if event.path is not None}
        if any(event.mask & fan.Mask.Q_OVERFLOW for event in batch):
            print("events were lost: read everything anew", flush=True)
        for event in batch:
            if event.mask & fan.Mask.RESCAN:
                print("read anew:", event.path, flush=True)
        print(len(batch), "events on", len(changed), "paths", flush=True)
