"""Findings: the one result type, with the probabilities of a study and what they rest on.

``Findings.model_json_schema()`` is the published schema of ``findings.json`` (``docs/findings.schema.json``).
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cspine.core.anatomy import RESEARCH_USE_ONLY, VERTEBRAE, Level

SCHEMA_VERSION: Final = "3.0"

MAX_HEADER_TEXT_LENGTH: Final = 64
"""Longest text that is taken over from a header, in characters."""

Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
LengthMm = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Coverage = Literal["complete", "partial", "absent"]

MIN_CERTAIN_CONFIDENCE: Final = 0.8
"""A level with less confidence is reported as uncertain."""

_LEVEL_PATTERN: Final = r"^([CTLS][0-9]+|[TL])$"
PointMm = tuple[float, float, float]
AffineRow = tuple[float, float, float, float]


class _Part(BaseModel):
    """The base of every part of the findings: immutable, unknown fields are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SagittalEvidence(_Part):
    """A sagittal image as evidence for a level; of the baseline."""

    kind: Literal["sagittal-image"] = "sagittal-image"
    image: Annotated[int, Field(ge=0, description="Index of the compiled image, from the patient's right.")]
    x_lps_mm: Annotated[float, Field(description="Position of the image: LPS x in mm (towards the left).")]
    probability: Annotated[Probability, Field(description="The level's probability from this image alone.")]


class SlicePosition(_Part):
    """A position in a DICOM slice."""

    sop_instance_uid: Annotated[
        str, Field(description="SOPInstanceUID, or empty where the slice has none, or shares it with another image.")
    ]
    instance_number: Annotated[
        int | None,
        Field(description="InstanceNumber, or null where the slice has none, or shares it with another slice."),
    ]
    frame: Annotated[int, Field(ge=1, description="Frame of the file, from 1.")]
    row: Annotated[float, Field(description="Pixels from the center of the first row, downwards.")]
    column: Annotated[float, Field(description="Pixels from the center of the first column, to the right.")]


class ViewEvidence(_Part):
    """The point of a level view with the strongest saliency."""

    kind: Literal["level-view"] = "level-view"
    plane: Annotated[
        Literal["sagittal", "coronal", "axial"],
        Field(description="Orientation of the view, along the vertebra's own axes."),
    ]
    offset_mm: Annotated[
        float, Field(description="Distance of the plane from the center of the vertebra's box, in mm.")
    ]
    row: Annotated[float, Field(description="Row of the view, in pixels.")]
    column: Annotated[float, Field(description="Column of the view, in pixels.")]
    point_lps_mm: Annotated[PointMm, Field(description="The point in the patient, LPS in mm.")]
    slice: Annotated[
        SlicePosition | None, Field(description="Position in the nearest slice, or null where the point is outside.")
    ]
    strength: Annotated[
        Probability, Field(description="Saliency at the point: the network's probability that it is fractured.")
    ]
    saliency_map: Annotated[
        tuple[tuple[Probability, ...], ...],
        Field(description="Saliency of each cell of the view, row by row; a cell is 8 x 8 pixels."),
    ] = ()
    pixel_mm: Annotated[float | None, Field(description="Side of a pixel of the view, in mm.")] = None


class FractureTypeFinding(_Part):
    """The probability of one type of fracture."""

    name: str
    probability: Probability


class LevelAlternative(_Part):
    """Another level that a vertebra may be of."""

    level: Annotated[str, Field(pattern=_LEVEL_PATTERN)]
    probability: Annotated[Probability, Field(description="Posterior probability of this level.")]


def alternatives_of(pairs: Iterable[tuple[str, float]]) -> tuple[LevelAlternative, ...]:
    """Return the alternatives of a vertebra as findings hold them, from pairs of level and probability."""
    return tuple(
        LevelAlternative(level=level, probability=min(max(probability, 0.0), 1.0)) for level, probability in pairs
    )


def level_label(level: str, alternatives: Sequence[LevelAlternative]) -> str:
    """Return a level with its alternatives, as reports show it.

    >>> level_label("C6", ())
    'C6'
    >>> level_label("C6", alternatives_of([("C7", 0.3), ("C5", 0.2)]))
    'C6 (or C7, C5)'
    """
    return f"{level} (or {', '.join(each.level for each in alternatives)})" if alternatives else level


OperatingPointName = Literal["rule-out", "triage"]

OPERATING_POINTS: Final[tuple[OperatingPointName, ...]] = ("triage", "rule-out")
"""Operating points, the strongest first: what reaches one reaches those after it."""

_ASSESSMENTS: Final[dict[OperatingPointName, str]] = {"triage": "suspicious", "rule-out": "not ruled out"}


def strongest_operating_point(reached: Collection[OperatingPointName]) -> OperatingPointName | None:
    """Return the strongest of the operating points reached; None if none is.

    >>> strongest_operating_point(("rule-out", "triage"))
    'triage'
    """
    return next((name for name in OPERATING_POINTS if name in reached), None)


def assessment_label(operating_points_reached: Collection[OperatingPointName]) -> str:
    """Return the assessment that reached operating points stand for: the strongest one, or nothing.

    >>> assessment_label(("rule-out", "triage")), assessment_label(("rule-out",)), assessment_label(())
    ('suspicious', 'not ruled out', '')
    """
    strongest = strongest_operating_point(operating_points_reached)
    return _ASSESSMENTS[strongest] if strongest else ""


_Alternatives = Annotated[
    tuple[LevelAlternative, ...],
    Field(description="Other levels, the best first: from a probability of 0.1 on, and one at least of an open level."),
]


class PatientFinding(_Part):
    """Whether any cervical vertebra is fractured."""

    probability: Annotated[Probability, Field(description="Calibrated probability that C1-C7 hold any fracture.")]
    raw_probability: Annotated[
        Probability | None, Field(description="Probability before calibration; what `cspine submit` transforms.")
    ] = None
    operating_points_reached: Annotated[
        tuple[OperatingPointName, ...], Field(description="Operating points that the probability reaches.")
    ] = ()
    reasons: Annotated[tuple[str, ...], Field(description="Why the probability may not be reliable.")] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether the probability reaches the triage operating point."""
        return "triage" in self.operating_points_reached


class VertebraFinding(_Part):
    """Whether one vertebra is fractured."""

    level: Level
    probability: Annotated[
        Probability | None,
        Field(description="Calibrated probability that this vertebra is fractured; null where it was not found."),
    ]
    raw_probability: Annotated[Probability | None, Field(description="Probability before calibration.")] = None
    operating_points_reached: Annotated[
        tuple[OperatingPointName, ...], Field(description="Operating points that the probability reaches.")
    ] = ()
    coverage: Annotated[
        Coverage | None,
        Field(description="How much of the vertebra was scanned; null where the weights do not localize."),
    ] = None
    scanned_fraction: Annotated[
        Probability | None,
        Field(description="Fraction of the vertebra that was scanned; null where it was not localized."),
    ] = None
    not_found: Annotated[
        bool,
        Field(
            description="Whether the level lies within the scanned extent and was not found there. Its coverage is "
            "`absent`, but it was not shown to lie outside the scan, and nothing is known of its bone."
        ),
    ] = False
    confidence: Annotated[Probability | None, Field(description="Probability of the level assignment, or null.")] = None
    alternatives: _Alternatives = ()
    centroid_lps_mm: Annotated[PointMm | None, Field(description="Centroid of its bone, LPS in mm, or null.")] = None
    fracture_types: Annotated[
        tuple[FractureTypeFinding, ...], Field(description="Most probable types of fracture, where one is suspected.")
    ] = ()
    old_fracture_probability: Annotated[
        Probability | None, Field(description="Probability of an old fracture or non-union, not calibrated, or null.")
    ] = None
    evidence: Annotated[
        tuple[SagittalEvidence | ViewEvidence, ...], Field(description="Evidence for the probability, strongest first.")
    ] = ()
    reasons: Annotated[tuple[str, ...], Field(description="Why the probability may not be reliable.")] = ()

    @property
    def is_suspicious(self) -> bool:
        """Whether the probability reaches the triage operating point."""
        return "triage" in self.operating_points_reached

    @property
    def is_level_uncertain(self) -> bool:
        """Whether the vertebra was found, and its level is not certain."""
        return bool(self.alternatives) or (self.confidence is not None and self.confidence < MIN_CERTAIN_CONFIDENCE)

    @property
    def level_label(self) -> str:
        """What reports show as level: with its alternatives."""
        return level_label(self.level, self.alternatives)

    @property
    def coverage_label(self) -> str:
        """What reports show as coverage: of a level in the scan that was not found, neither absent nor complete."""
        return "not found" if self.not_found else self.coverage or "not evaluated"

    @property
    def strongest(self) -> ViewEvidence | None:
        """The strongest evidence in a level view; None if the weights provide none."""
        return next((part for part in self.evidence if isinstance(part, ViewEvidence)), None)


class NotAssessable(_Part):
    """Why a study is not assessable."""

    code: Annotated[
        str,
        Field(pattern=r"^[a-z][a-z0-9-]*$", description="A fixed code for programs; see the reference of error codes."),
    ]
    reason: Annotated[str, Field(description="One sentence for people.")]


class SoftwareIdentity(_Part):
    """The software that predicted."""

    name: Literal["cspine"] = "cspine"
    version: str


class WeightsIdentity(_Part):
    """The weights that the probabilities come from."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the weights file.")]
    trained_on: Annotated[str, Field(description="Training data of the weights.")]
    phantom_only: Annotated[bool, Field(description="Whether they were trained on phantoms only.")]
    synthetic_only: Annotated[
        bool,
        Field(description="Whether all fractures that they were trained on were those of phantoms, or virtual ones."),
    ] = False
    execution_provider: Annotated[
        str | None, Field(description="Provider of ONNX Runtime that ran them, such as `CPUExecutionProvider`.")
    ] = None


class Threshold(_Part):
    """An operating point: the calibrated probabilities from which on it is reached."""

    name: OperatingPointName
    target: Annotated[str, Field(description="The criterion that it was chosen by.")]
    level: Probability
    patient: Probability


class CalibrationIdentity(_Part):
    """How the network's outputs were calibrated to probabilities."""

    fitted_on: Annotated[
        str, Field(description="Data that it was fitted on, and that the weights' operating points were chosen on.")
    ]
    prevalence: Annotated[
        Probability, Field(description="Prevalence of fractured patients that the probabilities assume.")
    ]
    points: tuple[Threshold, ...] = ()
    points_sha256: Annotated[
        str | None, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the points' file; null: of the weights.")
    ] = None
    points_chosen_on: Annotated[str, Field(description="What the points of a file were chosen on.")] = ""
    level_shift_logit: Annotated[float, Field(description="Added to the log-odds of levels by the file.")] = 0.0
    patient_shift_logit: Annotated[float, Field(description="Added to the log-odds of the patient by the file.")] = 0.0


class LocatedVertebra(_Part):
    """One localized vertebra."""

    level: Annotated[
        str,
        Field(
            pattern=_LEVEL_PATTERN,
            description="C1 to C7, T1 to T12, L1 to L5, S1; `T` or `L` of a vertebra below the neck whose number is "
            "unknown.",
        ),
    ]
    coverage: Coverage
    scanned_fraction: Annotated[Probability, Field(description="Fraction of the vertebra that was scanned.")]
    confidence: Annotated[Probability, Field(description="Probability of the level assignment.")]
    alternatives: _Alternatives = ()
    centroid_lps_mm: Annotated[PointMm, Field(description="Centroid of its scanned part, LPS in mm.")]
    frame_lps: Annotated[
        tuple[AffineRow, AffineRow, AffineRow, AffineRow],
        Field(description="Affine from its own frame (x left, y back, z up, origin in the body) to LPS, in mm."),
    ]
    box_mm: Annotated[
        tuple[PointMm, PointMm], Field(description="Corners of its bounding box in its own frame, in mm.")
    ]
    canal_lps_mm: Annotated[PointMm, Field(description="Center of the vertebral canal at its height, LPS in mm.")]


class Spine(_Part):
    """The localized vertebrae of one study."""

    schema_version: Literal["2.0"] = "2.0"
    statement: Literal["Research use only. Not a medical device. Not for diagnosis."] = RESEARCH_USE_ONLY
    study_instance_uid: str
    series_instance_uid: Annotated[str | None, Field(description="The series that was read.")] = None
    series_reasons: Annotated[tuple[str, ...], Field(description="What the series is, and why it was selected.")] = ()
    vertebrae: Annotated[
        tuple[LocatedVertebra, ...],
        Field(description="Vertebrae that are at least partly scanned, from the head down."),
    ] = ()
    coverage: Annotated[dict[Level, Coverage], Field(description="Coverage of C1 to C7.")] = {}
    not_found: Annotated[
        tuple[Level, ...],
        Field(description="Levels that lie within the scanned extent and were not found; their coverage is `absent`."),
    ] = ()
    canal_lps_mm: Annotated[
        tuple[PointMm, ...],
        Field(description="Centerline of the canal from the first vertebra to the last, every 2 mm, LPS in mm."),
    ] = ()
    warnings: tuple[str, ...] = ()
    not_assessable: NotAssessable | None = None
    software: SoftwareIdentity
    weights: WeightsIdentity


class Acquisition(_Part):
    """How the series was acquired, as far as its headers say."""

    manufacturer: Annotated[str | None, Field(max_length=MAX_HEADER_TEXT_LENGTH)] = None
    kernel: Annotated[str | None, Field(max_length=MAX_HEADER_TEXT_LENGTH)] = None
    slices: Annotated[int | None, Field(ge=1)] = None
    slice_spacing_mm: LengthMm | None = None
    slice_thickness_mm: LengthMm | None = None
    pixel_spacing_mm: LengthMm | None = None


class Findings(_Part):
    """The findings of one study."""

    schema_version: Annotated[Literal["3.0"], Field(description="Version of this schema.")] = SCHEMA_VERSION
    statement: Literal["Research use only. Not a medical device. Not for diagnosis."] = RESEARCH_USE_ONLY
    study_instance_uid: str
    series_instance_uid: Annotated[str | None, Field(description="The series that was read.")] = None
    series_reasons: Annotated[tuple[str, ...], Field(description="What the series is, and why it was selected.")] = ()
    acquisition: Acquisition | None = None
    patient_overall: PatientFinding | None = None
    vertebrae: Annotated[tuple[VertebraFinding, ...], Field(description="C1 to C7, in order.")] = ()
    warnings: tuple[str, ...] = ()
    not_assessable: NotAssessable | None = None
    software: SoftwareIdentity
    weights: WeightsIdentity
    localizer: Annotated[WeightsIdentity | None, Field(description="Weights of the localizer.")] = None
    calibration: Annotated[
        CalibrationIdentity | None,
        Field(description="How probabilities were calibrated; null of weights without calibration."),
    ] = None
    test_time_augmentation: Annotated[
        bool, Field(description="Whether test-time augmentation (left-right flip) was used.")
    ] = False

    @property
    def suspicious(self) -> tuple[Level, ...]:
        """Levels whose probability reaches the triage operating point."""
        return tuple(vertebra.level for vertebra in self.vertebrae if vertebra.is_suspicious)

    @model_validator(mode="after")
    def _complete_or_not_assessable(self) -> Self:
        """Check that a study has either all eight probabilities, or none and a reason."""
        if self.not_assessable is not None:
            if self.patient_overall is not None or self.vertebrae:
                raise ValueError("a study that is not assessable has no probabilities")
            return self
        if self.patient_overall is None or tuple(v.level for v in self.vertebrae) != VERTEBRAE:
            raise ValueError("an assessable study has patient_overall and C1..C7 in order")
        return self
