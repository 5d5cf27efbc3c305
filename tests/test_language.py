"""Retired words: names and headings speak the field's language (docs/reference/glossary.md)."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RETIRED = {
    "told", "said", "neck_s", "lesson", "lessons", "shelf", "shelved", "judge", "judged", "judgement", "judgements",
    "worse", "whence", "blamed", "jolt",
}  # fmt: skip

SOURCES = [path for folder in ("src", "benchmarks", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TEMPLATES = sorted((ROOT / "src").rglob("*.html"))


def _names(path: Path) -> Iterator[str]:
    """Yield every identifier of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
    yield from (token.string for token in tokens if token.type == tokenize.NAME)


def _words(name: str) -> set[str]:
    """Return the words of an identifier.

    >>> sorted(_words("LevelLesson_told"))
    ['lesson', 'level', 'told']
    """
    return {word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_identifier_holds_a_retired_word(path: Path) -> None:
    retired = {name for name in _names(path) if name in RETIRED or _words(name) & RETIRED}
    assert not retired


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_name_holds_a_retired_word(path: Path) -> None:
    assert not _words(path.stem) & RETIRED


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_heading_of_the_documentation_holds_a_retired_word(path: Path) -> None:
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    words = {word.lower() for heading in headings for word in re.findall(r"\w+", heading)}
    assert not words & RETIRED


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_heading_of_a_report_holds_a_retired_word(path: Path) -> None:
    headings = re.findall(r"<(?:h\d|th|title|summary)[^>]*>(.*?)</", path.read_text("utf-8"), re.DOTALL)
    words = {word.lower() for heading in headings for word in re.findall(r"\w+", heading)}
    assert not words & RETIRED
