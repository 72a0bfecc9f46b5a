"""
The fanotify engine: one filesystem mark, the decision in the listener, and what was decided remembered in the kernel.

Reading order: ``sequence`` (records in the order in which they happened), ``tree`` (where directories are),
``discovery`` (how an unknown directory is found), ``interest`` (who wants what), ``kernel_group`` (fanotify's own
group),
``engine`` (all of it together), ``permission`` (allowing and denying).
"""
