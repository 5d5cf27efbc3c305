"""The report of one study as a single HTML file that needs nothing else, not even a script."""

from pathlib import Path
from typing import Any, Final

from cspine.classification.prediction import EvidencePicture
from cspine.classification.result import CaseResult
from cspine.core.anatomy import COLOURS, RESEARCH_USE_ONLY
from cspine.core.errors import DecodeError
from cspine.core.files import write_text
from cspine.core.findings import Findings, SlicePlace, assessment_label
from cspine.reports.images.axial import PIXELS, SIDE_MM, axial_picture
from cspine.reports.images.overlay import evidence_png, marks, place_of, view_jpeg
from cspine.reports.pages import environment, inline
from cspine.views.compiled import CompiledStudy

_TEMPLATE: Final = "study.html"
_QUALITY: Final = 90
_SIDES: Final = {"sagittal": ("A", "P"), "coronal": ("R", "L"), "axial": ("R", "L")}
"""What lies left and right in a vertebra's views: the patient is faced, or seen from the feet."""

_LEAST_SHOWN: Final = 1
"""Where no vertebra is suspicious, so many are shown all the same, for the reader to judge the network by."""


def render_report(case_result: CaseResult) -> str:
    """Return the report as HTML.

    Everything that comes from the files is escaped. No name, date or identifier of the patient is shown, but for what
    names of files say: a refusal's reason names the file.

    Parameters
    ----------
    case_result : Examination
        Of `cspine.pipelines.predict.Detector.predict_case`.
    """
    compiled, findings = case_result.compiled, case_result.findings
    images, suspicious = _images(compiled) if compiled else [], _suspicious(case_result)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            findings=findings,
            statement=RESEARCH_USE_ONLY,
            colours=COLOURS,
            images=images,
            overview=images[len(images) // 2] if images else None,
            chances={each.level: each.probability for each in findings.vertebrae if each.probability is not None},
            suspicious=suspicious,
            shown={each["vertebra"].level for each in suspicious},
            assessment_label=assessment_label,
            words_of=lambda name: assessment_label((name,)),
            facts=_facts(compiled) if compiled else {},
            provenance=_provenance(findings),
        )
    )


def write_report(case_result: CaseResult, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises
    ------
    DiskFullError, OutputError
    """
    write_text(path, render_report(case_result))


def _images(compiled: CompiledStudy) -> list[dict[str, Any]]:
    sagittal, spine = compiled.sagittal, compiled.images.spine
    return [
        {
            "source": inline(data, "jpeg"),
            "number": number + 1,
            "x_mm": float(sagittal.x_lps_mm[number]),
            "place": place_of(float(sagittal.offsets_mm[number])),
            "pixels": sagittal.images.shape[1],
            "marks": marks(sagittal, spine, number) if spine else [],
        }
        for number, data in enumerate(sagittal.jpegs(_QUALITY))
    ]


def _suspicious(case_result: CaseResult) -> list[dict[str, Any]]:
    """Return the vertebrae that reach the triage point, or else the most suspicious, each with its strongest views."""
    reading = case_result.reading
    if reading is None or not reading.pictures:
        return []
    found = []
    likely = sorted(reading.vertebrae, key=lambda vertebra: -(vertebra.probability or 0.0))
    for vertebra in [each for each in likely if each.is_suspicious] or likely[:_LEAST_SHOWN]:
        shown = [picture for picture in reading.pictures if picture.level == vertebra.level]
        if shown:
            views = [
                {
                    "source": inline(view_jpeg(picture), "jpeg"),
                    "map": inline(evidence_png(picture), "png"),
                    "sides": _SIDES[picture.evidence.plane],
                    **_told(picture),
                }
                for picture in shown
            ]
            found.append({"vertebra": vertebra, "views": views, "axial": _axial(case_result.compiled, shown[0])})
    return found


def _axial(compiled: CompiledStudy | None, picture: EvidencePicture) -> dict[str, Any] | None:
    """Return the stored slice at a vertebra's strongest place; None where it cannot be shown."""
    place = picture.evidence.slice
    if compiled is None or place is None:
        return None
    try:
        shown = axial_picture(compiled.series, place)
    except DecodeError:  # the file is gone, or was written over, since it was read
        return None
    if shown is None:
        return None
    caption = f"as stored: {_slice_name(place)}, {SIDE_MM:.0f} mm wide"
    place_seen = {"x": shown.x, "y": shown.y, "pixels": PIXELS, "sides": shown.sides}
    return {"source": inline(shown.jpeg, "jpeg"), "caption": caption, **place_seen}


def _slice_name(place: SlicePlace) -> str:
    number = place.instance_number
    named = f"slice {number}" if number is not None else "the nearest slice"
    return f"{named}, frame {place.frame}" if place.frame > 1 else named


def _told(picture: EvidencePicture) -> dict[str, str]:
    evidence = picture.evidence
    told = [f"{evidence.plane}, {100 * evidence.strength:.0f} %"]
    if evidence.slice is not None:
        place = evidence.slice
        told.append(f"{_slice_name(place)}, row {place.row:.0f}, column {place.column:.0f}")
    x, y, z = evidence.point_lps_mm
    return {"caption": "; ".join(told), "point": f"LPS {x:.1f}, {y:.1f}, {z:.1f} mm"}


def _provenance(findings: Findings) -> dict[str, str]:
    """Return what the numbers depend on."""
    calibration, told = findings.calibration, {"Study": findings.study_instance_uid}
    told["Software"] = f"cspine {findings.software.version}"
    for name, weights in (("Weights", findings.weights), ("Vertebrae found by", findings.localizer)):
        if weights is not None:
            told[name] = f"{weights.name} (sha256 {weights.sha256[:16]}), trained on {weights.trained_on}"
    if calibration is not None:
        told["Calibrated on"] = calibration.fitted_on
        told["Probabilities suppose"] = f"that {100 * calibration.prevalence:.1f} % of patients have a fracture"
    else:
        told["Calibration"] = "none: numbers are as the network gives them"
    told["Looked at in a mirror too"] = "yes" if findings.test_time_augmentation else "no"
    told["Schema of findings.json"] = findings.schema_version
    return told


def _facts(compiled: CompiledStudy) -> dict[str, str]:
    stack, first = compiled.stack, compiled.series.headers[0]
    row_mm, column_mm = stack.pixel_spacing_mm
    facts = {
        "Series": compiled.series.series_instance_uid or "without UID",
        "Why this series": "; ".join(compiled.selection.reasons),
        "Slices": f"{len(stack.order)}, {stack.spacing_mm:.2f} mm apart, {first.rows} x {first.columns} pixels",
        "Pixel": f"{row_mm:.2f} x {column_mm:.2f} mm",
        "Tilt": f"{stack.tilt_deg:.1f} degrees",
        "Transfer syntax": ", ".join(compiled.provenance.transfer_syntaxes),
        "Compiled image": f"{compiled.sagittal.pixel_mm:.2f} mm per pixel, bone window",
    }
    if first.slice_thickness_mm:
        facts["Slice thickness"] = f"{first.slice_thickness_mm:.2f} mm"
    for rejection in compiled.selection.rejected:
        facts.setdefault("Not read", "")
        facts["Not read"] += f"{'; ' if facts['Not read'] else ''}{rejection.reason}"
    return facts
