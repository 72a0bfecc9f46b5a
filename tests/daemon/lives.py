"""What another process does for a while; nothing of the package under test is used here."""

import os
import random
import time
from pathlib import Path


def private_lives(top: Path, n_lives: int, seed: int) -> None:
    """
    Make directories, again and again, and remove them: what is done in one after it has become private for good has
    ``secret`` in its name.
    """
    rng = random.Random(seed)
    for n in range(n_lives):
        path = top / f"d{n}"
        os.mkdir(path, 0o755)
        _touch(path / "public")
        os.mkdir(path / "sub", 0o755)
        _touch(path / "sub" / "public")
        time.sleep(rng.choice([0, 0.001]))  # let it be looked at while it is public
        os.chmod(path, rng.choice([0o700, 0o711, 0o000 | 0o300]))
        for k in range(rng.randrange(4)):
            _touch(path / "sub" / f"secret{k}")
            _touch(path / f"secret{k}")
        os.rename(path / "sub", path / "secret-sub")
        _touch(path / "secret-sub" / "secret")
        for directory, _, files in os.walk(path, topdown=False):
            for name in files:
                os.unlink(os.path.join(directory, name))
            os.rmdir(directory)


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
