"""Marks on the suspicious slices, as presentation states: viewers draw them over the slices, or hide them."""

from collections import defaultdict
from typing import Final

import numpy as np
from highdicom import ModalityLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)

from cspine.core.findings import SlicePosition, VertebraFinding
from cspine.core.typing import Floats
from cspine.dicom.geometry import Stack
from cspine.reports.dicom.derived_series import MARKS
from cspine.reports.dicom.measurements import has_place
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.source_images import SourceImages
from cspine.views.window import Window

_RING_MM: Final = 6.0
_LAYER: Final = "CSPINE"
_COLOR: Final = "#FF3C00"
_MAX_TEXT_LENGTH: Final = 64


def presentation_states(
    context: ReportContext, source: SourceImages, stack: Stack
) -> list[GrayscaleSoftcopyPresentationState]:
    """Return presentation states that ring the strongest evidence of each suspicious vertebra in its slice.

    A presentation state applies one rescaling to all its slices, so that there are several states where the slices of a
    series differ in it. The slices are shown in the bone window.

    Parameters
    ----------
    context, source, stack
        As of `cspine.reports.dicom.structured_report.structured_report`.
    """
    by_rescale: dict[tuple[float, float], list[VertebraFinding]] = defaultdict(list)
    for vertebra in context.findings.vertebrae:
        evidence = vertebra.strongest
        if has_place(vertebra) and evidence is not None and evidence.slice is not None:
            pixel_format = source.header_of(evidence.slice).pixel_format
            by_rescale[pixel_format.slope, pixel_format.intercept].append(vertebra)
    return [
        _presentation_state(context, source, stack, vertebrae, rescale, number)
        for number, (rescale, vertebrae) in enumerate(by_rescale.items(), start=1)
    ]


def _presentation_state(
    context: ReportContext,
    source: SourceImages,
    stack: Stack,
    vertebrae: list[VertebraFinding],
    rescale: tuple[float, float],
    number: int,
) -> GrayscaleSoftcopyPresentationState:
    layer = GraphicLayer(_LAYER, order=1, description="Marks of cspine", display_color=CIELabColor.from_string(_COLOR))
    marks: dict[tuple[str, int], list[tuple[VertebraFinding, SlicePosition]]] = defaultdict(list)
    for vertebra in vertebrae:
        if vertebra.strongest is not None and vertebra.strongest.slice is not None:
            position = vertebra.strongest.slice
            marks[position.sop_instance_uid, position.frame].append((vertebra, position))
    annotations = [
        GraphicAnnotation(
            referenced_images=[source.dataset_of(uid)],
            referenced_frame_number=frame if source.is_multi_frame else None,
            graphic_layer=layer,
            graphic_objects=[_ring(position, stack) for _, position in marked],
            text_objects=[_text(vertebra, position, stack) for vertebra, position in marked],
        )
        for (uid, frame), marked in marks.items()
    ]
    window, (slope, intercept) = Window(), rescale
    attributes = context.series_attributes(MARKS, instance_number=number)
    del attributes["content_date"], attributes["content_time"]
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[source.dataset_of(uid) for uid in dict.fromkeys(uid for uid, _ in marks)],
        content_label="CSPINE",
        content_description="Strongest evidence of suspicious vertebrae",
        graphic_layers=[layer],
        graphic_annotations=annotations,
        modality_lut_transformation=ModalityLUTTransformation(
            rescale_intercept=intercept, rescale_slope=slope, rescale_type="HU"
        ),
        voi_lut_transformations=[
            SoftcopyVOILUTTransformation(window_center=window.centre_hu, window_width=window.width_hu)
        ],
        **attributes,
    )
    state.BodyPartExamined = "CSPINE"
    state.PresentationCreationDate = context.created_at.date()
    state.PresentationCreationTime = context.created_at.time()
    row_mm, column_mm = stack.pixel_spacing_mm
    for area in state.DisplayedAreaSelectionSequence:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [f"{row_mm:.6g}", f"{column_mm:.6g}"]
    return state


def _ring(position: SlicePosition, stack: Stack) -> GraphicObject:
    """Return the ring around a point: an ellipse where pixels are not square, its major axis first (C.10.5)."""
    x, y = _pixel(position)
    across, down = _radii(stack)
    axes = [[x - across, y], [x + across, y]], [[x, y - down], [x, y + down]]
    data = np.array([*axes[0], *axes[1]] if across >= down else [*axes[1], *axes[0]])
    return GraphicObject(GraphicTypeValues.ELLIPSE, data, units=AnnotationUnitsValues.PIXEL)


def _text(vertebra: VertebraFinding, position: SlicePosition, stack: Stack) -> TextObject:
    """Return the text beside the ring, which ends where the ring begins to the right."""
    x, y = _pixel(position)
    text = f"{vertebra.level_label} {100 * (vertebra.probability or 0.0):.0f} % - NOT FOR DIAGNOSIS"
    return TextObject(
        text[:_MAX_TEXT_LENGTH],
        units=AnnotationUnitsValues.PIXEL,
        anchor_point=(x + 1.2 * _radii(stack)[0], y),
        anchor_point_visible=False,
    )


def _radii(stack: Stack) -> tuple[float, float]:
    """Return the ring's radius in columns and in rows."""
    row_mm, column_mm = stack.pixel_spacing_mm
    return _RING_MM / column_mm, _RING_MM / row_mm


def _pixel(position: SlicePosition) -> Floats:
    """Return column and row, of which (0.5, 0.5) is the center of the first pixel (PS3.3, C.10.5)."""
    return np.array([position.column + 0.5, position.row + 0.5])
