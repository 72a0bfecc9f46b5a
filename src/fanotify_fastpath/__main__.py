"""``python -m fanotify_fastpath`` is ``fanfp``."""

import sys

from fanotify_fastpath.cli import main

if __name__ == "__main__":
    sys.exit(main())
