"""The one result type: what was found in a study, and how sure it is.

``Findings.model_json_schema()`` is the published schema of ``findings.json`` (``docs/findings.schema.json``).
"""

from collections.abc import Collection
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.anatomy import RESEARCH_USE_ONLY, VERTEBRAE, Level

SCHEMA_VERSION: Final = "3.0"

ACQUISITION_WORDS: Final = 64
"""Letters of a header's words at most."""

Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Coverage = Literal["complete", "partial", "absent"]
Place = tuple[float, float, float]
Row = tuple[float, float, float, float]


class _Part(BaseModel):
    """The base of every part of the findings: immutable, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SagittalEvidence(_Part):
    """A sagittal image that speaks for a level."""

    kind: Literal["sagittal-image"] = "sagittal-image"
    image: Annotated[int, Field(ge=0, description="Which of the compiled images, from the patient's right.")]
    x_lps_mm: Annotated[float, Field(description="Where the image lies: LPS x in mm (towards the left).")]
    probability: Annotated[Probability, Field(description="The level's probability from this image alone.")]


class SlicePlace(_Part):
    """A place in a DICOM slice."""

    sop_instance_uid: str
    instance_number: Annotated[int | None, Field(description="InstanceNumber, where the slice has one.")]
    frame: Annotated[int, Field(ge=1, description="Frame within the file, from 1.")]
    row: Annotated[float, Field(description="Pixels from the first row's middle, downwards.")]
    column: Annotated[float, Field(description="Pixels from the first column's middle, to the right.")]


class ViewEvidence(_Part):
    """The place in a vertebra's own image that speaks most for a fracture."""

    kind: Literal["level-view"] = "level-view"
    plane: Annotated[Literal["sagittal", "coronal", "axial"], Field(description="Along the vertebra's own axes.")]
    offset_mm: Annotated[float, Field(description="Of the plane from the middle of the vertebra's box.")]
    row: Annotated[float, Field(description="Pixel of the view.")]
    column: Annotated[float, Field(description="Pixel of the view.")]
    point_lps_mm: Annotated[Place, Field(description="The place in the patient, LPS in mm.")]
    slice: Annotated[SlicePlace | None, Field(description="The nearest slice, or null where the place is outside.")]
    strength: Annotated[Probability, Field(description="How broken the network finds the place.")]
    saliency_map: Annotated[
        tuple[tuple[Probability, ...], ...],
        Field(description="How broken it finds each cell of the view, row by row; cells are 8 pixels wide."),
    ] = ()
    pixel_mm: Annotated[float | None, Field(description="Side of a pixel of the view.")] = None


class FractureTypeFinding(_Part):
    """How likely a kind of fracture is."""

    name: str
    probability: Probability


OperatingPointName = Literal["rule-out", "triage"]

_IN_WORDS: Final[tuple[tuple[OperatingPointName, str], ...]] = (("triage", "suspicious"), ("rule-out", "not ruled out"))


def assessment_label(operating_points_reached: Collection[OperatingPointName]) -> str:
    """Return what reaching operating points means, for people; the strongest word alone, none where none is reached.

    >>> assessment_label(("rule-out", "triage")), assessment_label(("rule-out",)), assessment_label(())
    ('suspicious', 'not ruled out', '')
    """
    return next((words for name, words in _IN_WORDS if name in operating_points_reached), "")


class PatientFinding(_Part):
    """Whether any cervical vertebra is fractured."""

    probability: Annotated[Probability, Field(description="Calibrated probability that C1-C7 hold any fracture.")]
    raw_probability: Annotated[
        Probability | None, Field(description="Before calibration; what `cspine submit` transforms.")
    ] = None
    operating_points_reached: Annotated[
        tuple[OperatingPointName, ...], Field(description="Operating points that it reaches.")
    ] = ()
    reasons: Annotated[tuple[str, ...], Field(description="Why the number may not be relied on.")] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether it reaches the triage point."""
        return "triage" in self.operating_points_reached


class VertebraFinding(_Part):
    """Whether one vertebra is fractured."""

    level: Level
    probability: Annotated[
        Probability | None,
        Field(description="Calibrated probability that this vertebra is fractured; null where it is absent."),
    ]
    raw_probability: Annotated[Probability | None, Field(description="Before calibration.")] = None
    operating_points_reached: Annotated[
        tuple[OperatingPointName, ...], Field(description="Operating points that it reaches.")
    ] = ()
    coverage: Annotated[
        Coverage | None,
        Field(description="How much of the vertebra was scanned; null where the weights do not localise."),
    ] = None
    confidence: Annotated[Probability | None, Field(description="How sure its level is, or null.")] = None
    centroid_lps_mm: Annotated[Place | None, Field(description="Centre of the vertebra, LPS in mm, or null.")] = None
    fracture_types: Annotated[
        tuple[FractureTypeFinding, ...], Field(description="Most likely kinds, where any is suspected.")
    ] = ()
    evidence: Annotated[
        tuple[SagittalEvidence | ViewEvidence, ...], Field(description="What speaks for the number, strongest first.")
    ] = ()
    reasons: Annotated[tuple[str, ...], Field(description="Why the number may not be relied on.")] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether it reaches the triage point."""
        return "triage" in self.operating_points_reached

    @property
    def strongest(self) -> ViewEvidence | None:
        """The place that speaks most for a fracture; None of weights that tell none."""
        return next((part for part in self.evidence if isinstance(part, ViewEvidence)), None)


class NotAssessable(_Part):
    """Why no answer is given."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", description="A fixed word for programs.")]
    reason: Annotated[str, Field(description="One sentence for people.")]


class SoftwareIdentity(_Part):
    """What read the study."""

    name: Literal["cspine"] = "cspine"
    version: str


class WeightsIdentity(_Part):
    """Which weights the probabilities come from."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Hash of the weights file.")]
    trained_on: Annotated[str, Field(description="What data the weights have seen.")]
    phantom_only: Annotated[bool, Field(description="Whether they have seen nothing but phantoms.")]


class Threshold(_Part):
    """An operating point: from which calibrated probability on it is reached."""

    name: OperatingPointName
    target: Annotated[str, Field(description="What was asked of it.")]
    level: Probability
    patient: Probability


class CalibrationIdentity(_Part):
    """How numbers became probabilities."""

    fitted_on: Annotated[str, Field(description="What it was fitted on, and the operating points chosen on.")]
    prevalence: Annotated[Probability, Field(description="Share of fractured patients that probabilities suppose.")]
    points: tuple[Threshold, ...] = ()


class LocatedVertebra(_Part):
    """One vertebra that was found."""

    level: Annotated[str, Field(pattern=r"^(C[1-7]|T[0-9]+)$", description="T1 and so on are counted from C7 down.")]
    coverage: Coverage
    scanned_fraction: Annotated[Probability, Field(description="How much of it was scanned.")]
    confidence: Annotated[Probability, Field(description="How sure its level is.")]
    centroid_lps_mm: Annotated[Place, Field(description="Middle of what of it was scanned, LPS in mm.")]
    frame_lps: Annotated[
        tuple[Row, Row, Row, Row],
        Field(description="From its own frame (x left, y back, z up, origin amid the body) to LPS, in mm."),
    ]
    box_mm: Annotated[tuple[Place, Place], Field(description="Corners of what it fills in its own frame.")]
    canal_lps_mm: Annotated[Place, Field(description="Middle of the vertebral canal at its height, LPS in mm.")]


class Spine(_Part):
    """Which vertebrae were found in one study, and where."""

    schema_version: Literal["2.0"] = "2.0"
    statement: Literal["Research use only. Not a medical device. Not for diagnosis."] = RESEARCH_USE_ONLY
    study_instance_uid: str
    series_instance_uid: Annotated[str | None, Field(description="The series that was read.")] = None
    series_reasons: Annotated[tuple[str, ...], Field(description="What it is and why it was read.")] = ()
    vertebrae: Annotated[
        tuple[LocatedVertebra, ...], Field(description="Those of which the scan shows something, from the head down.")
    ] = ()
    coverage: Annotated[dict[Level, Coverage], Field(description="How much of C1 to C7 was scanned.")] = {}
    canal_lps_mm: Annotated[
        tuple[Place, ...], Field(description="The canal's middle from the first vertebra to the last, every 2 mm.")
    ] = ()
    warnings: tuple[str, ...] = ()
    not_assessable: NotAssessable | None = None
    software: SoftwareIdentity
    weights: WeightsIdentity


class Acquisition(_Part):
    """How the series that was read was made, as far as its headers say."""

    manufacturer: Annotated[str | None, Field(max_length=ACQUISITION_WORDS)] = None
    kernel: Annotated[str | None, Field(max_length=ACQUISITION_WORDS)] = None
    slices: Annotated[int | None, Field(ge=1)] = None
    slice_spacing_mm: Length | None = None
    slice_thickness_mm: Length | None = None
    pixel_spacing_mm: Length | None = None


class Findings(_Part):
    """What was found in one study."""

    schema_version: Annotated[
        Literal["3.0"],
        Field(description="Version of this schema."),
    ] = SCHEMA_VERSION
    statement: Literal["Research use only. Not a medical device. Not for diagnosis."] = RESEARCH_USE_ONLY
    study_instance_uid: str
    series_instance_uid: Annotated[str | None, Field(description="The series that was read.")] = None
    series_reasons: Annotated[tuple[str, ...], Field(description="What it is and why it was read.")] = ()
    acquisition: Acquisition | None = None
    patient_overall: PatientFinding | None = None
    vertebrae: Annotated[tuple[VertebraFinding, ...], Field(description="C1 to C7, in order.")] = ()
    warnings: tuple[str, ...] = ()
    not_assessable: NotAssessable | None = None
    software: SoftwareIdentity
    weights: WeightsIdentity
    localizer: Annotated[WeightsIdentity | None, Field(description="Which weights found the vertebrae.")] = None
    calibration: Annotated[
        CalibrationIdentity | None, Field(description="How numbers became probabilities; null of weights without.")
    ] = None
    test_time_augmentation: Annotated[bool, Field(description="Whether the neck was looked at in a mirror too.")] = (
        False
    )

    @property
    def suspicious(self) -> tuple[Level, ...]:
        """Levels that reach the triage point."""
        return tuple(vertebra.level for vertebra in self.vertebrae if vertebra.is_suspicious)

    @model_validator(mode="after")
    def _whole_or_refused(self) -> Self:
        """Hold that a study has either all eight probabilities, or a refusal and none."""
        if self.not_assessable is not None:
            if self.patient_overall is not None or self.vertebrae:
                raise ValueError("a refused study has no probabilities")
            return self
        if self.patient_overall is None or tuple(v.level for v in self.vertebrae) != VERTEBRAE:
            raise ValueError("a study that is not refused has patient_overall and C1..C7 in order")
        return self
