"""What a level network learns from: necks, single vertebrae beside them, and weights that it starts from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cspine.anatomy import VERTEBRAE, Level
from cspine.detect.card import UNNAMED, mark_of
from cspine.errors import LabelError
from cspine.learn.level_data import NeckFiles, kinds_of, list_necks
from cspine.learn.start import Start
from cspine.reformat.level_views import LevelViewSettings
from cspine.reformat.store import CompiledStore
from cspine.settings import digest


@dataclass(frozen=True)
class Material:
    """What is learnt from.

    Attributes
    ----------
    store : CompiledStore
        Whose necks are split into folds.
    necks, further : sequence of NeckFiles
        Its necks; and those that are never held out, and give single vertebrae only.
    further_is_phantom : bool
        Whether those are phantoms.
    begun : Start or None
        What training starts from.
    """

    store: CompiledStore
    necks: Sequence[NeckFiles]
    further: Sequence[NeckFiles]
    further_is_phantom: bool
    begun: Start | None

    @classmethod
    def of(cls, store: CompiledStore, further: CompiledStore | None, begun: Start | None) -> "Material":
        """List what data sets hold; raises LabelError where they hold nothing, or do not go together."""
        if store.settings.levels is None:
            raise LabelError(
                f"{store.folder}: was compiled without vertebrae's own images; "
                "compile it without --straight and --no-levels"
            )
        if begun is not None and _as_seen(begun.card.views) != _as_seen(store.settings.levels):
            raise LabelError(
                f"{store.folder}: shows vertebrae in another way than the weights that are started from saw; "
                "compile it as they saw them"
            )
        necks = list_necks(store)
        if further is None:
            return cls(store, necks, (), store.is_phantom, begun)
        if (further.settings.levels, further.localizer_sha256) != (store.settings.levels, store.localizer_sha256):
            raise LabelError(
                f"{further.folder}: vertebrae were found or cut in another way than in {store.folder}; "
                "compile both alike"
            )
        more = list_necks(further)
        both = {neck.patient for neck in necks} & {neck.patient for neck in more}
        if both:
            raise LabelError(
                f"{further.folder}: holds patients who are in {store.folder} too, {len(both)} of them; "
                "held-out ones would be learnt from, so give others"
            )
        return cls(store, necks, more, further.is_phantom, begun)

    def only(self, studies: Collection[str]) -> "Material":
        """Return the same with the necks of these studies alone."""
        return replace(self, necks=[neck for neck in self.necks if neck.study in studies])

    def check_held_out(self, studies: Collection[str]) -> None:
        """Refuse weights to start from that have learnt from patients who are held out now; raises LabelError."""
        if self.begun is None:
            return
        known = set(self.begun.card.learnt_from)
        both = {neck.patient for neck in self.necks if neck.study in studies and mark_of(neck.patient) in known}
        if both:
            raise LabelError(
                f"{self.store.folder}: the weights that are started from have learnt from {len(both)} of the patients "
                "that are held out now; give the same --seed, --folds and --fold as they had, or other data"
            )

    def learnt_from(self, train: Sequence[NeckFiles]) -> tuple[str, ...]:
        """Return by what patients are known again whom a fold's network has learnt from, its start's among them."""
        before = self.begun.card.learnt_from if self.begun else ()
        return tuple(sorted({*before, *(mark_of(neck.patient) for neck in (*train, *self.further))}))

    @property
    def views(self) -> LevelViewSettings:
        """How views were made."""
        views = self.store.settings.levels
        if views is None:  # pragma: no cover - `of` sees to it
            raise LabelError(f"{self.store.folder}: has no views")
        return views

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of fracture that is named, or that was where training starts from."""
        found = {*kinds_of(self._all), *(self.begun.card.kinds if self.begun else ())}
        return tuple(sorted(found - {UNNAMED})) or (UNNAMED,)

    @property
    def kinds_at(self) -> dict[Level, tuple[str, ...]]:
        """Of each level, the kinds of fracture that are named, or that were."""
        before = self.begun.card.kinds_at if self.begun else {}
        found = {
            level: {*before.get(level, ()), *(kind for neck in self._all for kind in neck.kinds.get(level, ()))}
            for level in VERTEBRAE
        }
        return {level: tuple(sorted(kinds)) for level, kinds in found.items() if kinds}

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
        return f"; before that on {self.begun.card.trained_on}" if self.begun else ""

    @property
    def phantom_only(self) -> bool:
        """Whether no patient's neck is among them."""
        return self.store.is_phantom and self.further_is_phantom and (not self.begun or self.begun.card.phantom_only)

    @property
    def hash(self) -> str:
        """Tells whether they are the same."""
        told = [[[neck.study, *neck.truth] for neck in necks] for necks in (self.necks, self.further)]
        return digest([self.store.settings.hash, self.store.localizer_sha256, *told])[:16]

    @property
    def _all(self) -> tuple[NeckFiles, ...]:
        return (*self.necks, *self.further)


def _whose(*, phantom: bool) -> str:
    return "phantom necks (no patient)" if phantom else "patients"


def _as_seen(views: LevelViewSettings) -> LevelViewSettings:
    """Return how views are made but for how they are stored, which no network sees."""
    return views.model_copy(update={"storage": "jpeg8", "jpeg_quality": 90})
