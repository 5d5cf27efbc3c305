"""The report of one study as a self-contained HTML page without scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cspine.classification.prediction import EvidencePicture
from cspine.classification.result import CaseResult
from cspine.core.anatomy import COLORS, RESEARCH_USE_ONLY
from cspine.core.errors import DecodeError
from cspine.core.files import write_text
from cspine.core.findings import CalibrationIdentity, Findings, SlicePosition, VertebraFinding, assessment_label
from cspine.core.not_assessable import remedy_of
from cspine.reports.images.axial import CROP_MM, CROP_PIXELS, axial_crop
from cspine.reports.images.overlay import (
    SIDES,
    VertebraOutline,
    describe_offset,
    saliency_png,
    vertebra_outlines,
    view_jpeg,
)
from cspine.reports.pages import data_url, environment
from cspine.reports.remarks import remarks_of
from cspine.views.compiled import CompiledStudy

_TEMPLATE: Final = "study.html"
_JPEG_QUALITY: Final = 90

_MIN_SHOWN: Final = 1
"""Vertebrae whose evidence is shown if none is suspicious, so that a reader can assess the network by it."""

_FINGERPRINT_LENGTH: Final = 16
"""Hexadecimal digits of a weights file's SHA-256 that the report shows."""


@dataclass(frozen=True)
class _SagittalImage:
    """One compiled sagittal image, with the outlines of the vertebrae near it."""

    url: str
    number: int
    x_mm: float
    position: str
    pixels: int
    outlines: list[VertebraOutline]


@dataclass(frozen=True)
class _EvidenceView:
    """One view of a vertebra, with its saliency map."""

    url: str
    map_url: str
    sides: tuple[str, str]
    caption: str
    point: str


@dataclass(frozen=True)
class _AxialImage:
    """The original axial slice around the strongest evidence; x and y in its pixels."""

    url: str
    caption: str
    x: float
    y: float
    pixels: int
    sides: tuple[str, str]


@dataclass(frozen=True)
class _Evidence:
    """A vertebra with the views that show its strongest evidence."""

    vertebra: VertebraFinding
    views: list[_EvidenceView]
    axial: _AxialImage | None


def render_report(case_result: CaseResult) -> str:
    """Return the report as HTML.

    All text that comes from files is escaped. The report shows neither name nor identifier of the patient, nor any
    date. The one exception is a file name: the reason why a study is not assessable can contain it.

    Parameters
    ----------
    case_result : CaseResult
        Findings and images that `cspine.pipelines.predict.Detector.predict_case` returned.
    """
    compiled, findings = case_result.compiled, case_result.findings
    images = _sagittal_images(compiled) if compiled else []
    evidence = _evidence(case_result)
    return (
        environment()
        .get_template(_TEMPLATE)
        .render(
            findings=findings,
            remedy=remedy_of(findings.not_assessable.code) if findings.not_assessable else "",
            statement=RESEARCH_USE_ONLY,
            colors=COLORS,
            images=images,
            overview=images[len(images) // 2] if images else None,
            probabilities={v.level: v.probability for v in findings.vertebrae if v.probability is not None},
            evidence=evidence,
            levels_with_evidence={part.vertebra.level for part in evidence},
            assessment_label=assessment_label,
            remarks_of=remarks_of,
            acquisition=_acquisition(compiled) if compiled else {},
            provenance=_provenance(findings),
        )
    )


def write_report(case_result: CaseResult, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises
    ------
    DiskFullError, OutputError
        The file cannot be written.
    """
    write_text(path, render_report(case_result))


def _sagittal_images(compiled: CompiledStudy) -> list[_SagittalImage]:
    sagittal, spine = compiled.sagittal, compiled.images.spine
    outlines = vertebra_outlines(sagittal, spine) if spine else [[]] * len(sagittal.images)
    return [
        _SagittalImage(
            url=data_url(jpeg, "jpeg"),
            number=index + 1,
            x_mm=float(sagittal.x_lps_mm[index]),
            position=describe_offset(float(sagittal.offsets_mm[index])),
            pixels=sagittal.images.shape[1],
            outlines=outlines[index],
        )
        for index, jpeg in enumerate(sagittal.jpegs(_JPEG_QUALITY))
    ]


def _evidence(case_result: CaseResult) -> list[_Evidence]:
    """Return the evidence of the suspicious vertebrae or, if there is none, of the most probable one."""
    prediction = case_result.prediction
    if prediction is None or not prediction.pictures:
        return []
    by_probability = sorted(prediction.vertebrae, key=lambda vertebra: -(vertebra.probability or 0.0))
    evidence = []
    for vertebra in [v for v in by_probability if v.is_suspicious] or by_probability[:_MIN_SHOWN]:
        pictures = [picture for picture in prediction.pictures if picture.level == vertebra.level]
        if pictures:
            views = [_evidence_view(picture) for picture in pictures]
            evidence.append(_Evidence(vertebra, views, _axial_image(case_result.compiled, pictures[0])))
    return evidence


def _evidence_view(picture: EvidencePicture) -> _EvidenceView:
    evidence = picture.evidence
    caption = f"{evidence.plane}, {100 * evidence.strength:.0f} %"
    if evidence.slice is not None:
        location = evidence.slice
        caption += f"; {_slice_name(location)}, row {location.row:.0f}, column {location.column:.0f}"
    x, y, z = evidence.point_lps_mm
    return _EvidenceView(
        url=data_url(view_jpeg(picture), "jpeg"),
        map_url=data_url(saliency_png(picture), "png"),
        sides=SIDES[evidence.plane],
        caption=caption,
        point=f"LPS {x:.1f}, {y:.1f}, {z:.1f} mm",
    )


def _axial_image(compiled: CompiledStudy | None, picture: EvidencePicture) -> _AxialImage | None:
    """Return the original slice at a vertebra's strongest evidence; None if it cannot be shown."""
    location = picture.evidence.slice
    if compiled is None or location is None:
        return None
    try:
        crop = axial_crop(compiled.series, picture.evidence.point_lps_mm, location)
    except DecodeError:  # the file was removed or overwritten after the study was evaluated
        return None
    caption = f"axial, original: {_slice_name(location)}, {CROP_MM:.0f} mm wide"
    return _AxialImage(data_url(crop.jpeg, "jpeg"), caption, crop.x, crop.y, CROP_PIXELS, crop.sides)


def _slice_name(location: SlicePosition) -> str:
    number = location.instance_number
    name = f"slice {number}" if number is not None else "slice without a number of its own"
    return f"{name}, frame {location.frame}" if location.frame > 1 else name


def _provenance(findings: Findings) -> dict[str, str]:
    """Return what the probabilities depend on: software, weights, calibration."""
    rows = {
        "Study instance UID": findings.study_instance_uid,
        "Software": f"cspine {findings.software.version}",
    }
    if findings.not_assessable is not None and findings.series_reasons:
        rows["Series"] = "; ".join(findings.series_reasons)
    for name, weights in (("Weights", findings.weights), ("Localizer", findings.localizer)):
        if weights is not None:
            fingerprint = weights.sha256[:_FINGERPRINT_LENGTH]
            rows[name] = f"{weights.name} (SHA-256 {fingerprint}), trained on {weights.trained_on}"
    calibration = findings.calibration
    if calibration is None:
        rows["Calibration"] = "none: probabilities are the raw outputs of the network"
    else:
        rows["Calibration"] = f"fitted on {calibration.fitted_on}"
        rows["Assumed prevalence"] = f"{100 * calibration.prevalence:.1f} % of patients have a fracture"
        rows["Operating points"] = _operating_points_source(calibration)
    rows["Test-time augmentation (left-right flip)"] = "yes" if findings.test_time_augmentation else "no"
    if findings.weights.execution_provider is not None:
        rows["Networks ran on"] = findings.weights.execution_provider
    rows["Schema of findings.json"] = findings.schema_version
    return rows


def _operating_points_source(calibration: CalibrationIdentity) -> str:
    """Return where the operating points come from, and by how much a file of them shifts probabilities."""
    if calibration.points_sha256 is None:
        return "those of the weights"
    fingerprint = calibration.points_sha256[:_FINGERPRINT_LENGTH]
    shifts = f"{calibration.level_shift_logit:+.2f} for levels and {calibration.patient_shift_logit:+.2f} for patients"
    return f"of a file (SHA-256 {fingerprint}), chosen on {calibration.points_chosen_on}; log-odds shifted by {shifts}"


def _acquisition(compiled: CompiledStudy) -> dict[str, str]:
    """Return the geometry and encoding of the series, and why it was selected."""
    stack, first = compiled.stack, compiled.series.headers[0]
    row_mm, column_mm = stack.pixel_spacing_mm
    rows = {
        "Series instance UID": compiled.series.series_instance_uid or "missing",
        "Series selection": "; ".join(compiled.selection.reasons),
        "Slices": f"{len(stack.order)}, spacing {stack.spacing_mm:.2f} mm, {first.rows} x {first.columns} pixels",
        "Slice thickness": f"{first.slice_thickness_mm:.2f} mm" if first.slice_thickness_mm else "unknown",
        "Pixel spacing": f"{row_mm:.2f} x {column_mm:.2f} mm",
        "Gantry tilt": f"{stack.tilt_deg:.1f} degrees",
        "Transfer syntax": ", ".join(compiled.provenance.transfer_syntaxes),
        "Compiled sagittal images": f"{compiled.sagittal.pixel_mm:.2f} mm per pixel, bone window",
    }
    if compiled.selection.rejected:
        rows["Rejected series"] = "; ".join(rejection.reason for rejection in compiled.selection.rejected)
    return rows
