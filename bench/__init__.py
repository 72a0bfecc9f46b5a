"""The benchmark: this package and its peers, in one run, on a filesystem that it makes itself. ``python -m bench``."""
