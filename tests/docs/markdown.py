"""Reads our Markdown pages: blocks of code, tables, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.settings import ROOT

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code: `info` is what stands behind the three signs, `line` where it begins."""

    info: str
    text: str
    line: int

    @property
    def language(self) -> str:
        return self.info.split(" ")[0]


def pages() -> list[Path]:
    """Return every page that we have written."""
    folders = ("docs", "examples", "bench", "tests")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    return sorted(page for page in found if ".venv" not in page.parts)


def blocks(page: Path) -> list[Block]:
    """Return the page's blocks of code in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1].strip(), m[2], text.count("\n", 0, m.start()) + 1) for m in _BLOCK.finditer(text)]


def links(page: Path) -> Iterator[str]:
    """Yield the targets of the page's links, without blocks of code."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        yield match[1]


def table_rows(page: Path, header: str) -> list[list[str]]:
    """Return the cells of the table whose first line is `header`."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = lines.index(header) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the page's headings."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
