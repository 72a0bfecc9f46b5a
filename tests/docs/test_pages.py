"""Links resolve, every page can be reached, and the HTML can be built."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path), link


def test_every_page_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(PAGES) - {index} <= linked
    assert set((ROOT / "samples").glob("*.py")) <= linked


def test_html_is_built_and_its_links_resolve(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "build_docs.py"), str(tmp_path / "docs")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "docs").glob("*.html"))
    assert {page.stem for page in pages} == {page.stem.lower() for page in PAGES}
    for page in pages:
        for link in re.findall(r'href="(?!\w+:)([^"#]+)', page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_changelog_begins_with_unreleased() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
