"""The report of one study as a single HTML file that needs nothing else, not even a script."""

import base64
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cspine.anatomy import COLOURS, RESEARCH_USE_ONLY
from cspine.detect.detector import Examination
from cspine.files import write_text
from cspine.reformat.sagittal import SagittalSet
from cspine.reformat.study import CompiledStudy

_TEMPLATE: Final = "study.html"


def render_report(examination: Examination) -> str:
    """Return the report as HTML.

    Everything that comes from the files is escaped. No name, date or identifier of the patient is shown.

    Parameters
    ----------
    examination : Examination
        Of `cspine.detect.detector.Detector.examine`.
    """
    environment = Environment(
        loader=PackageLoader("cspine.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    compiled = examination.compiled
    return environment.get_template(_TEMPLATE).render(
        findings=examination.findings,
        statement=RESEARCH_USE_ONLY,
        colours=COLOURS,
        images=_images(examination.jpegs, compiled.sagittal) if compiled else [],
        facts=_facts(compiled) if compiled else {},
    )


def write_report(examination: Examination, path: Path) -> None:
    """Write the report to `path`, atomically.

    Raises
    ------
    DiskFullError, OutputError
    """
    write_text(path, render_report(examination))


def _images(jpegs: tuple[bytes, ...], sagittal: SagittalSet) -> list[dict[str, Any]]:
    middle = float(sagittal.x_lps_mm.mean())
    return [
        {
            "source": "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"),
            "number": number + 1,
            "x_mm": float(x),
            "place": _place(float(x) - middle),
        }
        for number, (data, x) in enumerate(zip(jpegs, sagittal.x_lps_mm, strict=True))
    ]


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
