"""Tables of the documentation as data."""

from .pages import ROOT


def rows(page: str, first_heading: str) -> list[dict[str, str]]:
    """
    The rows of a table by the headings of its columns.

    :param page: file name in docs
    :param first_heading: heading of the first column, which no other table of that page has
    """
    lines = iter((ROOT / "docs" / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_heading} |"):
            headings = _cells(line)
            next(lines)
            break
    else:
        raise ValueError(f"no such table in {page}: {first_heading}")
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append(dict(zip(headings, _cells(line), strict=True)))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def verifier_counts() -> list[dict[str, str]]:
    """The table of what the verifier goes through."""
    return rows("kernel-engine.md", "object file")


def through_the_daemon() -> list[dict[str, str]]:
    """The table of what an ordinary user has through the daemon."""
    return rows("engines.md", "through the daemon")


def differences() -> list[dict[str, str]]:
    """The table of what differs between engines."""
    return rows("engines.md", "where they differ")
