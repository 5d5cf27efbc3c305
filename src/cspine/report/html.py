"""The report of one study as a single HTML file that needs nothing else, not even a script."""

from pathlib import Path
from typing import Any, Final

from cspine.anatomy import COLOURS, RESEARCH_USE_ONLY
from cspine.detect.detector import Examination
from cspine.detect.reading import EvidencePicture
from cspine.files import write_text
from cspine.findings import in_words
from cspine.reformat.study import CompiledStudy
from cspine.report.overlay import evidence_png, marks
from cspine.report.pages import environment, inline

_TEMPLATE: Final = "study.html"
_QUALITY: Final = 90
_LEAST_SHOWN: Final = 1
"""Where no vertebra is suspicious, so many are shown all the same, for the reader to judge the network by."""


def render_report(examination: Examination) -> str:
    """Return the report as HTML.

    Everything that comes from the files is escaped. No name, date or identifier of the patient is shown.

    Parameters
    ----------
    examination : Examination
        Of `cspine.detect.detector.Detector.examine`.
    """
    compiled = examination.compiled
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            findings=examination.findings,
            statement=RESEARCH_USE_ONLY,
            colours=COLOURS,
            images=_images(compiled) if compiled else [],
            suspicious=_suspicious(examination),
            in_words=in_words,
            facts=_facts(compiled) if compiled else {},
        )
    )


def write_report(examination: Examination, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises
    ------
    DiskFullError, OutputError
    """
    write_text(path, render_report(examination))


def _images(compiled: CompiledStudy) -> list[dict[str, Any]]:
    sagittal, spine = compiled.sagittal, compiled.images.spine
    return [
        {
            "source": inline(data, "jpeg"),
            "number": number + 1,
            "x_mm": float(sagittal.x_lps_mm[number]),
            "place": _place(float(sagittal.offsets_mm[number])),
            "pixels": sagittal.images.shape[1],
            "marks": marks(sagittal, spine, number) if spine else [],
        }
        for number, data in enumerate(sagittal.jpegs(_QUALITY))
    ]


def _suspicious(examination: Examination) -> list[dict[str, Any]]:
    """Return the vertebrae that reach the triage point, or else the most suspicious, each with its strongest views."""
    reading = examination.reading
    if reading is None or not reading.pictures:
        return []
    found = []
    likely = sorted(reading.vertebrae, key=lambda vertebra: -(vertebra.probability or 0.0))
    for vertebra in [each for each in likely if "triage" in each.above] or likely[:_LEAST_SHOWN]:
        shown = [picture for picture in reading.pictures if picture.level == vertebra.level]
        if shown:
            views = [{"source": inline(evidence_png(picture), "png"), **_told(picture)} for picture in shown]
            found.append({"vertebra": vertebra, "views": views})
    return found


def _told(picture: EvidencePicture) -> dict[str, str]:
    evidence = picture.evidence
    told = [f"{evidence.plane}, {100 * evidence.strength:.0f} %"]
    if evidence.slice is not None:
        number = evidence.slice.instance_number
        named = f"slice {number}" if number is not None else "the nearest slice"
        if evidence.slice.frame > 1:
            named += f", frame {evidence.slice.frame}"
        told.append(f"{named}, row {evidence.slice.row:.0f}, column {evidence.slice.column:.0f}")
    x, y, z = evidence.point_lps_mm
    return {"caption": "; ".join(told), "point": f"LPS {x:.1f}, {y:.1f}, {z:.1f} mm"}


def _place(offset_mm: float) -> str:
    """Say where an image lies from the midline, as the patient would: LPS x grows to the left.

    >>> _place(-12.0), _place(0.0)
    ('12 mm right', 'midline')
    """
    if abs(offset_mm) < 0.5:
        return "midline"
    return f"{abs(offset_mm):.0f} mm {'left' if offset_mm > 0 else 'right'}"


def _facts(compiled: CompiledStudy) -> dict[str, str]:
    stack, first = compiled.stack, compiled.series.headers[0]
    row_mm, column_mm = stack.pixel_spacing_mm
    facts = {
        "Series": compiled.series.series_instance_uid or "without UID",
        "Why this series": "; ".join(compiled.choice.reasons),
        "Slices": f"{len(stack.order)}, {stack.spacing_mm:.2f} mm apart, {first.rows} x {first.columns} pixels",
        "Pixel": f"{row_mm:.2f} x {column_mm:.2f} mm",
        "Tilt": f"{stack.tilt_deg:.1f} degrees",
        "Transfer syntax": ", ".join(compiled.provenance.transfer_syntaxes),
        "Compiled image": f"{compiled.sagittal.pixel_mm:.2f} mm per pixel, bone window",
    }
    if first.slice_thickness_mm:
        facts["Slice thickness"] = f"{first.slice_thickness_mm:.2f} mm"
    for rejection in compiled.choice.rejected:
        facts.setdefault("Not read", "")
        facts["Not read"] += f"{'; ' if facts['Not read'] else ''}{rejection.reason}"
    return facts
