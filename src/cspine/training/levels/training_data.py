"""Training data of the level network: labeled cases, auxiliary cases, and pretrained weights."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.core.errors import LabelError
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.models.metadata import UNSPECIFIED_TYPE, patient_fingerprint
from cspine.training.levels.dataset import CaseFiles, fracture_types_of, list_cases
from cspine.training.levels.initialization import PretrainedWeights
from cspine.views.level_views import LevelViewSettings


@dataclass(frozen=True)
class LevelTrainingData:
    """Cases and initial weights of a run.

    Attributes
    ----------
    dataset : CompiledDataset
        The data set whose cases are split into training and validation set.
    cases : sequence of CaseFiles
        Labeled cases of the data set.
    auxiliary : sequence of CaseFiles
        Cases of other patients, used in pretraining, as resampled vertebrae and, by
        `LevelTrainSettings.auxiliary_fraction`, as complete cases; never for validation.
    auxiliary_is_phantom : bool
        Whether all of these are phantoms.
    pretrained : PretrainedWeights or None
        Weights that training is initialized with; random ones where None.
    """

    dataset: CompiledDataset
    cases: Sequence[CaseFiles]
    auxiliary: Sequence[CaseFiles]
    auxiliary_is_phantom: bool
    pretrained: PretrainedWeights | None

    @classmethod
    def load(
        cls, dataset: CompiledDataset, auxiliary: Sequence[CompiledDataset], pretrained: PretrainedWeights | None
    ) -> "LevelTrainingData":
        """List the cases of data sets.

        Parameters
        ----------
        dataset : CompiledDataset
            With labels and views of vertebrae.
        auxiliary : sequence of CompiledDataset
            Data sets of other patients, compiled with the same settings.
        pretrained : PretrainedWeights or None
            Initial weights; None to train from random weights.

        Raises
        ------
        LabelError
            A data set holds no labeled vertebrae, the data sets share patients, or data sets and weights differ in
            how views were compiled.
        """
        if dataset.settings.levels is None:
            raise LabelError(
                f"{dataset.folder}: was compiled without vertebrae's own images; "
                "compile it without --straight and --no-levels"
            )
        if pretrained is not None and not _has_same_views(pretrained.metadata.views, dataset.settings.levels):
            raise LabelError(
                f"{dataset.folder}: its views were compiled with other settings than those of the initial weights; "
                "compile it with the same settings"
            )
        cases = list_cases(dataset)
        auxiliary_cases = [case for each in auxiliary for case in _auxiliary_cases(each, dataset, cases)]
        are_phantoms = all(each.is_phantom for each in (dataset, *auxiliary))
        return cls(dataset, cases, auxiliary_cases, are_phantoms, pretrained)

    def select(self, studies: Collection[str]) -> "LevelTrainingData":
        """Return the same data with the cases of these studies only."""
        return replace(self, cases=[case for case in self.cases if case.study in studies])

    def check_leakage(self, held_out: Collection[str]) -> None:
        """Refuse pretrained weights that were trained on patients who are held out now.

        Parameters
        ----------
        held_out : collection of str
            StudyInstanceUIDs of the validation set, and of parts that are kept for tests.

        Raises
        ------
        LabelError
            There are such patients.
        """
        if self.pretrained is None:
            return
        trained_on = set(self.pretrained.metadata.training_patients)
        leaked = {
            case.patient
            for case in self.cases
            if case.study in held_out and patient_fingerprint(case.patient) in trained_on
        }
        if leaked:
            raise LabelError(
                f"{self.dataset.folder}: the initial weights were trained on {len(leaked)} of the patients that are "
                "held out now; give the same --seed, --folds and --fold as in their training, or other data"
            )

    def training_patients(self, train: Sequence[CaseFiles]) -> tuple[str, ...]:
        """Return the fingerprints of all patients whom a network was trained on, by its initial weights too.

        Parameters
        ----------
        train : sequence of CaseFiles
            The network's training set.
        """
        earlier = self.pretrained.metadata.training_patients if self.pretrained else ()
        return tuple(sorted({*earlier, *(patient_fingerprint(case.patient) for case in (*train, *self.auxiliary))}))

    @property
    def views(self) -> LevelViewSettings:
        """How views were compiled."""
        views = self.dataset.settings.levels
        if views is None:  # pragma: no cover - `load` checks it
            raise LabelError(f"{self.dataset.folder}: has no views of vertebrae; compile it without --no-levels")
        return views

    @property
    def fracture_types(self) -> tuple[str, ...]:
        """Every fracture type in the labels or the initial weights, sorted."""
        earlier = self.pretrained.metadata.fracture_types if self.pretrained else ()
        types = {*fracture_types_of(self._all_cases), *earlier}
        return tuple(sorted(types - {UNSPECIFIED_TYPE})) or (UNSPECIFIED_TYPE,)

    @property
    def fracture_types_by_level(self) -> dict[Level, tuple[str, ...]]:
        """The fracture types of each level in the labels or the initial weights."""
        earlier = self.pretrained.metadata.fracture_types_by_level if self.pretrained else {}
        types = {
            level: {
                *earlier.get(level, ()),
                *(name for case in self._all_cases for name in case.fracture_types.get(level, ())),
            }
            for level in VERTEBRAE
        }
        return {level: tuple(sorted(names)) for level, names in types.items() if names}

    @property
    def population(self) -> str:
        """What the cases are: phantoms or patients."""
        return "phantom cases (no patient)" if self.dataset.is_phantom else "patients"

    def describe(self, train: Sequence[CaseFiles], *, seed: int, epoch: int) -> str:
        """Return what a network was trained on, in words for its metadata.

        Parameters
        ----------
        train : sequence of CaseFiles
            Cases of the training set.
        seed, epoch : int
            Seed, and the epoch whose weights are exported.
        """
        parts = [f"{len(train)} {self.population}"]
        if self.auxiliary:
            kind = "phantoms" if self.auxiliary_is_phantom else "studies"  # of a patient there may be many
            parts.append(f" and {len(self.auxiliary)} auxiliary {kind}")
        parts.append(f", seed {seed}, epoch {epoch}")
        if self.pretrained:
            parts.append(f"; before that on {self.pretrained.metadata.trained_on}")
        return "".join(parts)

    @property
    def phantom_only(self) -> bool:
        """Whether all cases, those of the initial weights included, are phantoms."""
        is_pretrained_on_phantoms = not self.pretrained or self.pretrained.metadata.phantom_only
        return self.dataset.is_phantom and self.auxiliary_is_phantom and is_pretrained_on_phantoms

    @cached_property
    def hash(self) -> str:
        """Hash of studies, labels, views with the cells of their fractures, and how views were compiled."""
        parts = [[_content(case) for case in cases] for cases in (self.cases, self.auxiliary)]
        return digest([self.dataset.settings.hash, self.dataset.localizer_sha256, *parts])[:16]

    @property
    def _all_cases(self) -> tuple[CaseFiles, ...]:
        return (*self.cases, *self.auxiliary)


def _content(case: CaseFiles) -> list[object]:
    """Return what a case teaches: labels, and hashes of its files."""
    files = [*sorted(case.mosaics.items()), *sorted(case.cells.items())]
    types = sorted((level, [*names]) for level, names in case.fracture_types.items())
    return [case.study, *case.truth, types, [[level, _file_hash(path)] for level, path in files]]


def _file_hash(path: Path) -> str:
    """Return the hash of a file; nothing where there is none, which is reported where it is read."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _auxiliary_cases(
    auxiliary: CompiledDataset, dataset: CompiledDataset, cases: Sequence[CaseFiles]
) -> list[CaseFiles]:
    """Return the cases of an auxiliary data set; raise LabelError where it does not go with the data set."""
    compiled, required = ((each.settings.levels, each.localizer_sha256) for each in (auxiliary, dataset))
    if compiled != required:
        raise LabelError(
            f"{auxiliary.folder}: was compiled with other view settings or another localizer than "
            f"{dataset.folder}; compile both alike"
        )
    auxiliary_cases = list_cases(auxiliary)
    common = {case.patient for case in cases} & {case.patient for case in auxiliary_cases}
    if common:
        raise LabelError(
            f"{auxiliary.folder}: holds {len(common)} patients who are in {dataset.folder} too, so that validation "
            "patients would be trained on; give other patients"
        )
    return auxiliary_cases


def _has_same_views(one: LevelViewSettings, other: LevelViewSettings) -> bool:
    """Return whether views were compiled alike but for what does not matter to a network: number and storage."""
    any_of_them = {"sagittal": 1, "coronal": 1, "axial": 1, "storage": "jpeg8", "jpeg_quality": 90}
    return one.model_copy(update=any_of_them) == other.model_copy(update=any_of_them)
