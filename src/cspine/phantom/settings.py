"""The choices of a phantom data set."""

from pydantic import Field

from cspine.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES
from cspine.settings import Settings


class PhantomSettings(Settings):
    """How phantom necks and their scans are drawn; ranges are drawn from uniformly."""

    matrix: int = Field(256, ge=64, le=768, description="Rows and columns of a slice.")
    field_mm: tuple[float, float] = Field((150.0, 180.0), description="Side of a slice, in mm.")
    slice_spacing_mm: tuple[float, float] = Field((0.8, 1.2), description="Between slices, in mm.")
    blur_mm: tuple[float, float] = Field((0.35, 0.7), description="Standard deviation of the scanner's blur, in mm.")
    noise_hu: tuple[float, float] = Field((15.0, 45.0), description="Standard deviation of the noise, in HU.")
    lateral_offset_mm: float = Field(15.0, ge=0.0, description="The spine lies up to this far off the field's middle.")
    prevalence: float = Field(
        CHALLENGE_POSITIVES["patient_overall"] / CHALLENGE_STUDIES,
        ge=0.0,
        le=1.0,
        description="Fraction of studies with a fracture; the challenge's by default.",
    )
    gap_mm: tuple[float, float] = Field((1.0, 3.0), description="Width of a crack, in mm.")
    displacement_mm: tuple[float, float] = Field((0.5, 4.0), description="How far a fragment is moved, in mm.")
    full_headers: float = Field(0.2, ge=0.0, le=1.0, description="Fraction of studies with full DICOM headers.")
    upward: float = Field(
        197 / CHALLENGE_STUDIES, ge=0.0, le=1.0, description="Fraction with instance numbers rising towards the head."
    )
