"""
The fanotify engine: one filesystem mark, the decision in the listener, and what was decided remembered in the kernel.

Reading order: ``raw`` (one record), ``sequence`` and ``merging`` (records in the order in which they happened),
``cookie`` (how far the queue has been read), ``tree`` (where directories are), ``discovery`` (how an unknown one is
found), ``interest`` (who wants what), ``judge`` (what a record means), ``sender`` (from there to an event),
``kernel_group`` (fanotify's own group), ``engine`` (all of it together), ``objects`` (marks on single objects and
mounts), ``permission`` (allowing and denying).
"""
