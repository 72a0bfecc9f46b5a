"""The tutorial of docs/modules.md is followed word by word, where /run, /srv and /sys/fs/bpf are this test's own."""

import os
import subprocess
import sys
from pathlib import Path

from mounting import give_up

from .pages import ROOT, blocks

PAGE = ROOT / "docs" / "modules.md"
_MOUNTS = "mount -t tmpfs fp /run && mount -t tmpfs fp /srv && mount -t bpf fp /sys/fs/bpf && mkdir /srv/handlers"
_SAY = 'printf "%s\\n" '


def script() -> tuple[str, str]:
    """The commands of the page, and what they print with the prompts."""
    lines, expected = [], ""
    for block in blocks("console"):
        if block.page == PAGE:
            expected += block.code
            for line in block.code.splitlines():
                if line.startswith("# "):
                    quoted = line.replace("'", "'\\''")
                    lines += [f"{_SAY}'{quoted}'", line.removeprefix("# ")]
    return "\n".join(lines), expected


def test_the_commands_do_what_the_page_says(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        give_up("the page is about what root does")
    (source,) = (block.code for block in blocks("python") if block.page == PAGE)
    (tmp_path / "only_suffixes.py").write_text(source)
    commands, expected = script()
    assert expected.count("fanfp handlers") >= 4
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{_MOUNTS} && cp only_suffixes.py /srv/handlers && {{\n{commands}\n}}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == expected, done.stderr
    assert done.stderr.startswith("fanfp: no handler named 'only-suffixes'"), done.stderr
    assert done.stderr.count("\n") == 1
