"""Virtual machines: what runs them, and what runs inside (``inside``)."""
