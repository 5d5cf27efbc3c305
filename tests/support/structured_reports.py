"""Read a structured report by pydicom alone, as another program would: what it says, and where."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset

from cspine.core.anatomy import SNOMED_CODES

PATIENT = "patient"
MEASUREMENTS, DERIVED, QUALITATIVE = "126010", "126011", "C0034375"
_LEVELS = {code: level for level, (code, _) in SNOMED_CODES.items()} | {"122494005": PATIENT}


@dataclass
class Statement:
    """What a report says of one level, or of the patient, and in which container."""

    container: str
    site: str = ""
    probability: float | None = None
    finding: str | None = None
    algorithm: str | None = None
    tracking_uid: str | None = None
    codes: dict[str, list[str]] = field(default_factory=dict)
    meanings: dict[str, list[str]] = field(default_factory=dict)
    point_lps_mm: tuple[float, ...] | None = None
    pixel: tuple[float, float] | None = None
    image: str | None = None
    frame: int = 1

    def code(self, name: str) -> str | None:
        return self.codes[name][0] if name in self.codes else None


def read_statements(document: Dataset) -> dict[str, Statement]:
    """Return what a report says, by level and for the patient."""
    statements = {}
    for container in document.ContentSequence:
        code = code_of(container)
        if container.ValueType == "CONTAINER" and code in {MEASUREMENTS, DERIVED, QUALITATIVE}:
            for item in container.ContentSequence:
                statement = Statement(code)
                if item.ValueType == "CODE":
                    _read(statement, item)
                for child in item.get("ContentSequence", ()):
                    _read(statement, child)
                assert statement.site not in statements
                statements[statement.site] = statement
    return statements


def _read(statement: Statement, item: Dataset) -> None:
    code, kind = code_of(item), item.ValueType
    if code == "363698007":
        statement.site = _LEVELS[item.ConceptCodeSequence[0].CodeValue]
    elif code == "121071":
        statement.finding = item.ConceptCodeSequence[0].CodeValue
    elif code == "111001":
        statement.algorithm = item.TextValue
    elif code == "112040":
        statement.tracking_uid = item.UID
    elif kind == "NUM":
        statement.probability = float(item.MeasuredValueSequence[0].NumericValue)
    elif kind == "CODE":
        statement.codes.setdefault(code, []).append(item.ConceptCodeSequence[0].CodeValue)
        statement.meanings.setdefault(code, []).append(item.ConceptCodeSequence[0].CodeMeaning)
    elif kind == "SCOORD3D":
        assert item.GraphicType == "POINT"
        statement.point_lps_mm = tuple(float(value) for value in item.GraphicData)
    elif kind == "SCOORD":
        assert (code, item.GraphicType) == ("111030", "POINT")
        column, row = (float(value) for value in item.GraphicData)
        statement.pixel = column, row
        (image,) = item.ContentSequence
        reference = image.ReferencedSOPSequence[0]
        statement.image = reference.ReferencedSOPInstanceUID
        statement.frame = int(reference.get("ReferencedFrameNumber", 1))


def code_of(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue") or names[0].LongCodeValue) if names else ""


def walk(item: Dataset) -> Iterator[Any]:
    """Yield an item and all items below it."""
    yield item
    for child in item.get("ContentSequence", ()):
        yield from walk(child)


def texts(document: Dataset, code: str) -> list[str]:
    """Return all texts of a concept."""
    return [str(item.TextValue) for item in walk(document) if item.get("ValueType") == "TEXT" and code_of(item) == code]


def comments(document: Dataset) -> list[str]:
    """Return the comments."""
    return texts(document, "121106")
