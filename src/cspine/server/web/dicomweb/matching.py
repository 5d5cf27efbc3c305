"""Matching of QIDO-RS (PS3.18, 8.3.4 and PS3.4, C.2.2.2): single values, lists of UIDs, wildcards, ranges of dates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from cspine.server.web.errors import HttpError

MAX_LIMIT: Final = 10_000
DEFAULT_LIMIT: Final = 1000

_NO_FUZZY_MATCHING: Final = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
"""The sentence of PS3.18, 8.3.4.2."""

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_MAX_VALUE_LENGTH: Final = 1024
_RANGES: Final = frozenset({"DA", "TM", "DT"})
_WILD: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})


@dataclass(frozen=True)
class Query:
    """What a client asks for.

    Attributes
    ----------
    matches : dict of str to str
        Values to match, by tag (8 hex digits).
    include : frozenset of str
        Further tags to return.
    include_all : bool
        Whether all elements are returned.
    limit, offset : int
        Number of answers, and how many are left out before.
    warnings : tuple of str
        What is not done as asked.
    """

    matches: dict[str, str]
    include: frozenset[str]
    include_all: bool
    limit: int
    offset: int
    warnings: tuple[str, ...] = ()


def parse_query(parameters: Sequence[tuple[str, str]]) -> Query:
    """Return what the parameters of an address ask for.

    >>> query = parse_query([("PatientName", "DOE*"), ("00080061", "CT"), ("includefield", "00081030"), ("limit", "5")])
    >>> query.matches, sorted(query.include), query.limit
    ({'00100010': 'DOE*', '00080061': 'CT'}, ['00081030'], 5)

    Raises
    ------
    HttpError
        400: a name is no element, or a number none.
    """
    matches: dict[str, str] = {}
    include: set[str] = set()
    numbers = {"limit": DEFAULT_LIMIT, "offset": 0}
    include_all, warnings = False, []
    for name, value in parameters:
        if len(value) > _MAX_VALUE_LENGTH:
            raise HttpError(400, "a value to match is too long; shorten it")
        if name in numbers:
            numbers[name] = _number(name, value)
        elif name == "includefield":
            fields = value.split(",")
            include_all = include_all or "all" in fields
            include |= {_tag(field) for field in fields if field and field != "all"}
        elif name == "fuzzymatching":
            if value.lower() == "true":
                warnings.append(
                    "The fuzzymatching parameter is not supported. Only literal matching has been performed."
                )
        elif name not in {"accept", "charset"} and "." not in name:
            if value:  # an empty value matches everything
                matches[_tag(name)] = value
            else:
                include.add(_tag(name))
    limit = min(numbers["limit"], MAX_LIMIT)
    return Query(matches, frozenset(include), include_all, limit, numbers["offset"], tuple(warnings))


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise HttpError(400, f"{name}: give a whole number")
    return int(value)


def _tag(name: str) -> str:
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_for_keyword(name)
    if tag is None:
        raise HttpError(400, "a parameter is no element of the data dictionary; see PS3.6")
    return f"{tag:08X}"


def matches(attributes: Mapping[str, Any], query: Query) -> bool:
    """Return whether all elements of an answer match.

    >>> ct = {"00080060": {"vr": "CS", "Value": ["CT"]}}
    >>> matches(ct, parse_query([("Modality", "C?")])), matches(ct, parse_query([("Modality", "SR")]))
    (True, False)
    """
    return all(_element_matches(attributes.get(tag), tag, value) for tag, value in query.matches.items())


def _element_matches(element: Mapping[str, Any] | None, tag: str, wanted: str) -> bool:
    values = [_text(each) for each in (element or {}).get("Value", []) if each is not None]
    representation = (element or {}).get("vr") or representation_of(tag)
    if representation == "UI":
        return any(value in re.split(r"[,\\]", wanted) for value in values)
    if representation in _RANGES and "-" in wanted:
        return any(in_range(value, wanted) for value in values)
    if representation in _WILD:
        is_name = representation == "PN"
        return any(wildcard(wanted, ignore_case=is_name).fullmatch(value) for value in values)
    return wanted in values


def representation_of(tag: str) -> str:
    """Return the value representation of an element in the data dictionary; ``UN`` where it has none."""
    try:
        return dictionary_VR(int(tag, 16))
    except KeyError:
        return "UN"


def wildcard(pattern: str, *, ignore_case: bool) -> re.Pattern[str]:
    """Return a pattern with ``*`` for any text and ``?`` for any character."""
    parts = re.split(r"(\*+|\?)", pattern)
    text = "".join(".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts)
    return re.compile(text, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def in_range(value: str, wanted: str) -> bool:
    """Return whether a date or time lies in a range, of which one end may be open.

    >>> in_range("20260102", "20260101-20260131"), in_range("20260102", "20260103-"), in_range("", "-20260103")
    (True, False, False)
    """
    low, _, high = wanted.partition("-")
    return bool(value) and (not low or value >= low) and (not high or value[: len(high)] <= high)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever DICOM JSON holds
    if isinstance(value, Mapping):
        return str(value.get("Alphabetic", ""))
    return str(value)


def select(attributes: dict[str, Any], tags: frozenset[str], query: Query) -> dict[str, Any]:
    """Return the elements of an answer that a client wants: those of the level, what it asked for, what it matched."""
    if query.include_all:
        return attributes
    wanted = tags | query.include | query.matches.keys()
    return {tag: attributes[tag] for tag in sorted(wanted) if tag in attributes}
