"""
The documentation as data: pages, headings, links and code blocks.

A code block is run or checked unless an HTML comment before it says why not: ``<!-- test: skip REASON -->``.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SKIP = re.compile(r"<!-- test: skip (.+?) -->\s*$")
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """
    One fenced code block.

    :ivar page: where it stands
    :ivar line: line of its first line of code, from 1
    :ivar language: what follows the fence
    :ivar code: its text
    :ivar skip: why it is not tested, if so
    """

    page: Path
    line: int
    language: str
    code: str
    skip: str | None

    @property
    def id(self) -> str:
        """For people: page and line."""
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Every code block in one of these languages, on all pages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            if match[1] in languages:
                skip = _SKIP.search(text[: match.start()])
                line = text.count("\n", 0, match.start()) + 2
                found.append(Block(page, line, match[1], match[2], skip[1] if skip else None))
    return found


def links(page: Path) -> list[str]:
    """The targets of all links that stay in this checkout."""
    text = _FENCE.sub("", page.read_text())
    return [target for target in _LINK.findall(text) if not re.match(r"\w+:", target)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they appear in links."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
