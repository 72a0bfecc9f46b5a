"""
Build the documentation as HTML: the pages of ``docs/`` and the API reference from the docstrings.

    usage: build_docs.py OUTPUT_DIRECTORY
"""

import html
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

import markdown2  # type: ignore[import-untyped]  # comes with pdoc
import pdoc

_ROOT = Path(__file__).resolve().parent.parent
_MODULES = ("fanotify_fastpath", "fanotify_fastpath.arguments", "fanotify_fastpath.lowlevel")
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto; background: #f4f4f4; padding: .75rem; line-height: 1.3 }}
table {{ border-collapse: collapse }}
td, th {{ border: 1px solid #ccc; padding: .25rem .5rem; text-align: left; vertical-align: top }}
</style>
<nav><a href="index.html">Documentation</a> · <a href="api/fanotify_fastpath.html">API reference</a></nav>
{body}
</html>
"""


def _target(link: str) -> str:
    """Turn a link between source files into one between the pages, which all lie in one directory."""
    parts = [part for part in PurePosixPath(link).parts if part not in ("..", "docs")]
    path = PurePosixPath(*parts)
    return f"{path.stem.lower()}.html" if path.suffix == ".md" else str(path)


def write_page(source: Path, output: Path) -> None:
    """Turn one Markdown page into HTML."""
    body = markdown2.markdown(
        source.read_text(), extras=["tables", "fenced-code-blocks", "header-ids", "highlightjs-lang", "code-friendly"]
    )
    body = re.sub(r'href="(?!\w+:)([^"#]+)', lambda match: f'href="{_target(match[1])}', body)
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", body)
    title = re.sub("<[^>]+>", "", heading[1]) if heading else html.escape(source.stem)
    output.write_text(_PAGE.format(title=title, body=body))


def build(output: Path) -> None:
    """Build everything into *output*, which is emptied first."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for source in [*sorted((_ROOT / "docs").glob("*.md")), _ROOT / "README.md", _ROOT / "CHANGELOG.md"]:
        write_page(source, output / f"{source.stem.lower()}.html")
    shutil.copytree(_ROOT / "samples", output / "samples", ignore=shutil.ignore_patterns("__pycache__"))
    for extra in (_ROOT / "LICENSE", *sorted((_ROOT / "docs").glob("*.toml"))):
        shutil.copy(extra, output)
    pdoc.render.configure(docformat="restructuredtext", show_source=False)
    pdoc.pdoc(*_MODULES, output_directory=output / "api")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(f"built {sys.argv[1]}/index.html")
