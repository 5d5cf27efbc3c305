"""Settings of virtual fractures: which levels and types, how wide and how far displaced."""

from typing import Final

from pydantic import Field, field_validator

from cspine.core.anatomy import CHALLENGE_POSITIVES, VERTEBRAE
from cspine.core.settings import Settings
from cspine.insertion.registration import mean_person
from cspine.phantom.fractures.prevalence import LEVELS_PER_STUDY
from cspine.phantom.fractures.sites import sites
from cspine.phantom.settings import PhantomSettings, Range

FORMAT: Final = 4
"""Version of the method: increased whenever the same seed and settings give other fractures."""


class InsertionSettings(Settings):
    """Which virtual fractures are put into a scan."""

    level_mix: dict[str, float] = Field(
        {level: float(CHALLENGE_POSITIVES[level]) for level in VERTEBRAE},
        description="Level to its frequency among fractured vertebrae; by default that of the challenge.",
    )
    type_mix: dict[str, float] = Field(
        {}, description="Fracture type to its frequency relative to that of the phantom; all types where empty."
    )
    vertebrae_per_study: dict[int, float] = Field(
        {count: float(studies) for count, studies in LEVELS_PER_STUDY.items()},
        description="Number of fractured vertebrae to its frequency; by default that of the challenge.",
    )
    fracture_width_mm: Range = Field((0.15, 2.5), description="Width of a fracture gap; log-uniform.")
    displacement_mm: Range = Field((0.0, 4.0), description="Upper limit of the displacement of a fragment.")
    height_loss_mm: Range = Field((1.5, 5.0), description="Loss of anterior height of a compressed body.")

    min_visibility: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Least visibility of a fracture in the image: 0.5 is subtle, 0.75 clear, 0.9 obvious.",
    )
    min_modelled_visibility: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="The same by the phantom's model of contrast and noise, which knows no texture.",
    )

    @field_validator("level_mix")
    @classmethod
    def _check_levels(cls, mix: dict[str, float]) -> dict[str, float]:
        if not mix or set(mix) - set(VERTEBRAE) or min(mix.values()) < 0 or sum(mix.values()) <= 0:
            raise ValueError("levels are C1 to C7, with frequencies that are not all 0")
        return mix

    @field_validator("type_mix")
    @classmethod
    def _check_types(cls, mix: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(mix) - set(fracture_types()))
        if unknown or any(value < 0 for value in mix.values()):
            raise ValueError(f"there is no fracture type {', '.join(unknown)}; types are {', '.join(fracture_types())}")
        return mix

    def types_of(self, level: str) -> dict[str, float]:
        """Return the types of fracture of a level with their frequencies; those of frequency 0 are left out."""
        frequencies = {
            site.fracture_type: site.proportion * (self.type_mix.get(site.fracture_type, 0.0) if self.type_mix else 1.0)
            for site in sites(level, mean_person())  # type: ignore[arg-type]  # levels are checked
        }
        return {name: value for name, value in frequencies.items() if value > 0}

    def phantom_settings(self) -> PhantomSettings:
        """Return the settings with which the phantom draws single fractures."""
        return PhantomSettings(
            bone_loss_fraction=0.0,  # bone of the scan is displaced, none is taken out
            fracture_width_mm=self.fracture_width_mm,
            displacement_mm=self.displacement_mm,
            height_loss_mm=self.height_loss_mm,
        )


def fracture_types() -> tuple[str, ...]:
    """Return the types of fracture of the phantom, from the head down."""
    types = [site.fracture_type for level in VERTEBRAE for site in sites(level, mean_person())]
    return tuple(dict.fromkeys(types))
