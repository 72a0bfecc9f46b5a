"""What a wheel brings besides the package."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_manual_pages_units_and_the_example_lie_where_they_are_looked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "FANFP_PURE": "1"})
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    data = {name.partition(".data/data/")[2] for name in names if ".data/data/" in name}
    pages = {f"share/man/man{page.suffix[1:]}/{page.name}" for page in (ROOT / "man").iterdir()}
    assert data == {
        *pages,
        "lib/systemd/system/fanfpd.service",
        "lib/systemd/system/fanfpd.socket",
        "lib/sysctl.d/fanfpd.conf",
        "lib/sysusers.d/fanfpd.conf",
        "share/doc/fanotify-fastpath/fanfpd-kernel.conf",
        "share/doc/fanotify-fastpath/fanfpd.toml",
    }
