"""What a level network learns from: necks, single vertebrae beside them, and weights that it starts from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.errors import LabelError
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.models.metadata import UNNAMED, patient_fingerprint
from cspine.training.levels.dataset import CaseFiles, kinds_of, list_cases
from cspine.training.levels.initialization import PretrainedWeights
from cspine.views.level_views import LevelViewSettings


@dataclass(frozen=True)
class LevelTrainingData:
    """What is learnt from.

    Attributes
    ----------
    store : CompiledDataset
        Whose necks are split into folds.
    cases, further : sequence of CaseFiles
        Its necks; and those that are never held out, and give single vertebrae only.
    further_is_phantom : bool
        Whether those are phantoms.
    begun : Start or None
        What training starts from.
    """

    store: CompiledDataset
    cases: Sequence[CaseFiles]
    further: Sequence[CaseFiles]
    further_is_phantom: bool
    begun: PretrainedWeights | None

    @classmethod
    def of(
        cls, store: CompiledDataset, further: CompiledDataset | None, begun: PretrainedWeights | None
    ) -> "LevelTrainingData":
        """List what data sets hold; raises LabelError where they hold nothing, or do not go together."""
        if store.settings.levels is None:
            raise LabelError(
                f"{store.folder}: was compiled without vertebrae's own images; "
                "compile it without --straight and --no-levels"
            )
        if begun is not None and _as_seen(begun.metadata.views) != _as_seen(store.settings.levels):
            raise LabelError(
                f"{store.folder}: shows vertebrae in another way than the weights that are started from saw; "
                "compile it as they saw them"
            )
        cases = list_cases(store)
        if further is None:
            return cls(store, cases, (), store.is_phantom, begun)
        if (further.settings.levels, further.localizer_sha256) != (store.settings.levels, store.localizer_sha256):
            raise LabelError(
                f"{further.folder}: vertebrae were found or cut in another way than in {store.folder}; "
                "compile both alike"
            )
        more = list_cases(further)
        both = {case.patient for case in cases} & {case.patient for case in more}
        if both:
            raise LabelError(
                f"{further.folder}: holds patients who are in {store.folder} too, {len(both)} of them; "
                "held-out ones would be learnt from, so give others"
            )
        return cls(store, cases, more, further.is_phantom, begun)

    def only(self, studies: Collection[str]) -> "LevelTrainingData":
        """Return the same with the necks of these studies alone."""
        return replace(self, cases=[case for case in self.cases if case.study in studies])

    def check_held_out(self, studies: Collection[str]) -> None:
        """Refuse weights to start from that have learnt from patients who are held out now; raises LabelError."""
        if self.begun is None:
            return
        known = set(self.begun.metadata.training_patients)
        both = {
            case.patient for case in self.cases if case.study in studies and patient_fingerprint(case.patient) in known
        }
        if both:
            raise LabelError(
                f"{self.store.folder}: the weights that are started from have learnt from {len(both)} of the patients "
                "that are held out now; give the same --seed, --folds and --fold as they had, or other data"
            )

    def training_patients(self, train: Sequence[CaseFiles]) -> tuple[str, ...]:
        """Return by what patients are known again whom a fold's network has learnt from, its start's among them."""
        before = self.begun.metadata.training_patients if self.begun else ()
        return tuple(sorted({*before, *(patient_fingerprint(case.patient) for case in (*train, *self.further))}))

    @property
    def views(self) -> LevelViewSettings:
        """How views were made."""
        views = self.store.settings.levels
        if views is None:  # pragma: no cover - `of` sees to it
            raise LabelError(f"{self.store.folder}: has no views")
        return views

    @property
    def fracture_types(self) -> tuple[str, ...]:
        """Every kind of fracture that is named, or that was where training starts from."""
        found = {*kinds_of(self._all), *(self.begun.metadata.fracture_types if self.begun else ())}
        return tuple(sorted(found - {UNNAMED})) or (UNNAMED,)

    @property
    def fracture_types_by_level(self) -> dict[Level, tuple[str, ...]]:
        """Of each level, the kinds of fracture that are named, or that were."""
        before = self.begun.metadata.fracture_types_by_level if self.begun else {}
        found = {
            level: {
                *before.get(level, ()),
                *(kind for case in self._all for kind in case.fracture_types.get(level, ())),
            }
            for level in VERTEBRAE
        }
        return {level: tuple(sorted(fracture_types)) for level, fracture_types in found.items() if fracture_types}

    @property
    def who(self) -> str:
        """Whom necks are of."""
        return _whose(phantom=self.store.is_phantom)

    @property
    def beside(self) -> str:
        """What else is learnt from."""
        if not self.further:
            return ""
        return f" and single vertebrae of {len(self.further)} other {_whose(phantom=self.further_is_phantom)}"

    @property
    def before(self) -> str:
        """What was learnt from before."""
        return f"; before that on {self.begun.metadata.trained_on}" if self.begun else ""

    @property
    def phantom_only(self) -> bool:
        """Whether no patient's neck is among them."""
        return (
            self.store.is_phantom and self.further_is_phantom and (not self.begun or self.begun.metadata.phantom_only)
        )

    @property
    def hash(self) -> str:
        """Tells whether they are the same."""
        told = [[[case.study, *case.truth] for case in cases] for cases in (self.cases, self.further)]
        return digest([self.store.settings.hash, self.store.localizer_sha256, *told])[:16]

    @property
    def _all(self) -> tuple[CaseFiles, ...]:
        return (*self.cases, *self.further)


def _whose(*, phantom: bool) -> str:
    return "phantom necks (no patient)" if phantom else "patients"


def _as_seen(views: LevelViewSettings) -> LevelViewSettings:
    """Return how views are made but for how they are stored, which no network sees."""
    return views.model_copy(update={"storage": "jpeg8", "jpeg_quality": 90})
