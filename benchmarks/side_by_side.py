"""Methods side by side on the same phantoms: what more looks at a vertebra are worth, and what they cost.

Declared before the first look: training on `TRAIN` studies of the source domain, judged on `JUDGED` of the hidden one,
with the same epochs for all but the notebook's network; nothing is chosen by the judged studies. All others begin
with the encoder of the level weights that come with cspine, which has seen single planes with cracks, and with a new
head: from random weights, so few necks would teach none of them to see a crack. The localizer that comes with cspine
finds all vertebrae. Level views are trained as they are by default: in the first seven tenths of the epochs vertebrae
of many necks are put together, which a method that sees whole necks cannot do.

- ``baseline-cnn``: the notebook's network on nine straight images;
- ``curved-9``: nine images that follow the spine, through the level network's encoder;
- ``views-3``, ``views-9``, ``views-15``: each vertebra through 1, 3 or 5 views of each plane;
- ``views-9-png16``: nine views in 16 bits without loss, for what JPEG of 8 bits costs.

Run: ``python -m benchmarks.side_by_side --work DIR``; interrupted, it goes on where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from benchmarks.hidden import tell
from benchmarks.tables import keep
from cspine.classification.baseline import Baseline
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import OVERALL, TARGETS, VERTEBRAE
from cspine.core.parallel import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.localization.compiler import STRAIGHT, Compiler
from cspine.localization.localizer import Localizer
from cspine.metrics.bootstrap import Interval, bootstrap_auc, patient_weights, percentile_interval
from cspine.metrics.scores import auc
from cspine.phantom import DOMAINS, PhantomSettings
from cspine.phantom.scanner.dicom import Identity
from cspine.reports.evaluation.sections import Table, show
from cspine.training.baseline.settings import TrainSettings
from cspine.training.baseline.train import train
from cspine.training.levels.initialization import PretrainedWeights, export_encoder, load_pretrained
from cspine.training.levels.network import LevelNetwork, ViewEncoder
from cspine.training.levels.phantom_dataset import write_phantom_datasets
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.train import train_levels
from cspine.training.losses import challenge_log_loss
from cspine.training.trainer import VAL_LOSS, WHOLE, Batch, DataShard, Loader, claim_run, fit, load_batches, open_fabric
from cspine.views.level_views import LevelViewSettings
from cspine.views.settings import CompileSettings

TRAIN, JUDGED = 160, 200
TRAIN_SEED, JUDGED_SEED = 3001, 9090
PREVALENCE, MATRIX, EPOCHS = 0.75, 320, 4

REFERENCE: Final = "views-9"

Frame = pd.DataFrame
Drawn = dict[str, tuple[float, npt.NDArray[np.float64]]]
"""Of patients and levels: an AUC, and the same in each draw of patients."""

Answer = Callable[[CompiledDataset], Frame]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", choices=list(METHODS), action="append", help="these methods")
    parser.add_argument("--train", type=int, default=TRAIN)
    parser.add_argument("--judged", type=int, default=JUDGED)
    options = parser.parse_args()
    names = options.only or list(METHODS)
    fracture_types = {"curved", *(METHODS[name][0] for name in names)}
    stores = {which: make(options, which, sorted(fracture_types)) for which in ("train", "judged")}
    wanted = {Identity(JUDGED_SEED, number, "shifted").study_uid for number in range(options.judged)}
    shared = wanted & set(stores["judged"]["curved"].levels()["study_instance_uid"].astype(str))
    rows: list[dict[str, Any]] = []
    drawn: dict[str, Drawn] = {}
    for name in names:
        kind, method = METHODS[name]
        started = time.perf_counter()
        answer, seconds = method(stores["train"][kind], options.work / name)
        judged = stores["judged"][kind]
        costs = {"bytes_a_study": bytes_read(judged, name), "seconds_per_epoch": seconds}
        found, drawn[name] = judge(answer, judged, shared)
        rows.append({"method": name, **found, **costs})
        print(json.dumps(rows[-1]), f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    for row in rows if REFERENCE in drawn else ():
        row.update(less(drawn[row["method"]], drawn[REFERENCE]))
    (options.work / "side-by-side.json").write_text(json.dumps(rows, indent=2) + "\n")
    keep(options.work, "side-by-side", table(rows))


def bytes_read(store: CompiledDataset, name: str) -> float:
    """Return the bytes of a study that a method looks at; of mosaics, the share of its views."""
    images = name in ("baseline-cnn", "curved-9")
    paths = (store.manifest() if images else store.levels())["path"]
    size = sum((store.folder / str(path)).stat().st_size for path in paths)
    views = store.settings.levels
    fraction = 1.0 if images or views is None else int(name.split("-")[1]) / views.views
    return fraction * size / store.manifest()["study_instance_uid"].nunique()


def table(rows: list[dict[str, Any]]) -> Table:
    """Return what the benchmarks' page shows."""
    header = (
        "method", "patient AUC", "difference", "level AUC", "difference", "bytes a study", "s an epoch",
        "s a prediction",
    )  # fmt: skip
    shown = []
    for row in rows:
        areas = []
        for which in ("patient", "level"):
            areas.append(show(Interval(*row[f"{which}_auc"])))
            same = row["method"] == REFERENCE or f"{which}_less" not in row
            areas.append("" if same else show(Interval(*row[f"{which}_less"]), sign="+"))
        costs = (
            f"{row['bytes_a_study']:,.0f}",
            f"{row['seconds_per_epoch']:.1f}",
            f"{row['seconds_a_prediction']:.3f}",
        )
        shown.append((row["method"], *areas, *costs))
    return Table(header, tuple(shown))


def make(options: argparse.Namespace, which: str, fracture_types: list[str]) -> dict[str, CompiledDataset]:
    """Return the phantoms of a set, drawn once, as each kind of method sees them."""
    narrow = {"prevalence": PREVALENCE, "matrix": MATRIX}
    stores = write_phantom_datasets(
        {options.work / f"{which}-{kind}": KINDS[kind]() for kind in fracture_types},
        studies=options.train if which == "train" else options.judged,
        seed=TRAIN_SEED if which == "train" else JUDGED_SEED,
        settings=PhantomSettings(**narrow) if which == "train" else DOMAINS["shifted"],
        workers=default_workers(),
        progress=tell,
    )
    return dict(zip(fracture_types, stores, strict=True))


def judge(answer: Answer, store: CompiledDataset, shared: set[str]) -> tuple[dict[str, Any], Drawn]:
    """Return AUC with intervals and seconds a prediction, from compiled images on.

    Only studies count in which vertebrae were found: others no method but the baseline answers.
    """
    started = time.perf_counter()
    said = answer(store)
    seconds = (time.perf_counter() - started) / len(said)
    said = said.loc[[uid for uid in said.index if uid in shared]]
    studies = store.studies().set_index("study_instance_uid").loc[said.index]
    truth = studies[list(TARGETS)].to_numpy(int)
    weights = patient_weights(said.index.to_numpy())
    flat, scores = truth[:, 1:].ravel(), said[list(VERTEBRAE)].to_numpy().ravel()
    drawn = {
        "patient": (
            auc(truth[:, 0], said[OVERALL]),
            bootstrap_auc(truth[:, 0], said[OVERALL].to_numpy(), weights),
        ),
        "level": (auc(flat, scores), bootstrap_auc(flat, scores, np.repeat(weights, 7, axis=1))),
    }
    told = {f"{which}_auc": _interval(*values) for which, values in drawn.items()}
    return {**told, "seconds_a_prediction": seconds, "studies": len(said)}, drawn


def less(one: Drawn, other: Drawn) -> dict[str, list[float]]:
    """Return by how much an AUC is greater than another method's, in the same draws of patients."""
    return {
        f"{which}_less": _interval(one[which][0] - other[which][0], one[which][1] - other[which][1]) for which in one
    }


def _interval(value: float, drawn: npt.NDArray[np.float64]) -> list[float]:
    found = percentile_interval(value, drawn)
    return [found.value, found.low, found.high]


# --- methods ---------------------------------------------------------------------------------------------------------


def baseline(store: CompiledDataset, out: Path) -> tuple[Answer, float]:
    summary = train(store, out, TrainSettings(seed=1), progress=tell)
    network = Baseline.load(summary.weights)
    return lambda judged: classify_dataset(judged, network), _seconds(out)


def levels(views: tuple[int, int, int]) -> Callable[[CompiledDataset, Path], tuple[Answer, float]]:
    def method(store: CompiledDataset, out: Path) -> tuple[Answer, float]:
        settings = LevelTrainSettings(seed=1, pretrain_epochs=0, epochs=EPOCHS, train_views=views, eval_views=views)
        begin = export_encoder(shipped(), out.parent, LevelViewSettings(), seed=1)
        summary = train_levels(store, out, settings, start=begin, progress=tell)
        if summary is None:  # pragma: no cover - this is one process
            raise AssertionError("another process writes")
        classifier = LevelClassifier.load(*summary.weights)
        return lambda judged: classify_dataset(judged, classifier), _seconds(out)

    return method


@cache
def shipped() -> PretrainedWeights:
    """Return the level weights that come with cspine."""
    return load_pretrained("levels")


def seen_encoder() -> ViewEncoder:
    """Return their encoder, anew."""
    network = LevelNetwork(len(shipped().metadata.fracture_types))
    shipped().fill(network, shipped().metadata.fracture_types)
    return network.encoder


def curved(store: CompiledDataset, out: Path) -> tuple[Answer, float]:
    settings = LevelTrainSettings(seed=1, epochs=EPOCHS)
    fabric = open_fabric(settings)
    begun = shipped().sha256
    claim_run(fabric, out, {"kind": "curved run", "start": begun, "settings": settings.model_dump(mode="json")})
    data = _images(store)
    held = [number for number in range(len(data.truth)) if number % settings.folds == settings.fold]
    kept = [number for number in range(len(data.truth)) if number % settings.folds != settings.fold]
    fitted = fit(fabric, CurvedNetwork, CurvedLesson(data.part(kept), data.part(held), settings), out, settings)
    if fitted is None:  # pragma: no cover - this is one process
        raise AssertionError("another process writes")
    network = fitted.network.eval()

    def answer(judged: CompiledDataset) -> Frame:
        images = _images(judged)
        with torch.no_grad():
            said = [torch.sigmoid(network(_channels(image[None]))).double().numpy()[0] for image in images.images]
        return pd.DataFrame(said, index=images.uids, columns=list(TARGETS))

    return answer, _seconds(out)


def _seconds(out: Path) -> float:
    return float(pd.read_csv(out / "curves.csv")["seconds"].median())


class _Images(Dataset[Batch]):
    """Nine curved images of each study, in memory."""

    def __init__(
        self, uids: list[str], images: npt.NDArray[np.uint8], truth: npt.NDArray[np.float32], seed: int | None = None
    ) -> None:
        self.uids, self.images, self.truth, self.seed = uids, images, truth, seed

    def part(self, numbers: list[int], seed: int | None = None) -> "_Images":
        return _Images([self.uids[n] for n in numbers], self.images[numbers], self.truth[numbers], seed)

    def drawn(self, seed: int) -> "_Images":
        return _Images(self.uids, self.images, self.truth, seed)

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, number: int) -> Batch:
        views = _channels(self.images[number][None])[0]
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, number])
            if rng.random() < 0.5:
                views = views.flip(0, 1)  # the mirror image: right is left
            views = (views * float(rng.uniform(0.85, 1.15)) + float(rng.uniform(-0.05, 0.05))).clamp(0, 1)
            shift = tuple(rng.integers(-8, 9, 2).tolist())
            views = torch.roll(views, shift, (2, 3))
        return {"views": views, "truth": torch.from_numpy(self.truth[number])}


def _channels(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return each image with its neighbours as channels, (n, 9, 3, rows, columns)."""
    grey = torch.from_numpy(images.astype(np.float32) / 255.0)
    padded = torch.cat([grey[:, :1], grey, grey[:, -1:]], dim=1)
    return torch.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], dim=2)


def _images(store: CompiledDataset) -> _Images:
    groups = dict(iter(store.manifest().groupby("study_instance_uid", sort=True)))
    uids = [str(uid) for uid in groups]
    images = np.stack([store.read_images(rows["path"], store.settings.sagittal.pixels) for rows in groups.values()])
    truth = np.stack([rows[list(TARGETS)].iloc[0].to_numpy(np.float32) for rows in groups.values()])
    return _Images(uids, images, truth)


class CurvedNetwork(nn.Module):
    """The level network's encoder over nine images of the whole spine, attention, and eight answers."""

    def __init__(self, size: int = 128) -> None:
        super().__init__()
        self.encoder = seen_encoder()
        self.place = nn.Parameter(torch.randn(9, size) * 0.02)
        self.share, self.said = nn.Linear(size, 8), nn.Linear(size, 1)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Return logits, (n, 8), of views, (n, 9, 3, rows, columns)."""
        vectors = self.encoder(views.flatten(0, 1))[0].view(len(views), 9, -1) + self.place
        weight = torch.softmax(self.share(vectors), dim=1)  # each answer looks where it will
        said: torch.Tensor = self.said(torch.einsum("nvt,nvs->nts", weight, vectors))[:, :, 0]
        return said


class CurvedLesson:
    """Reading necks through nine curved images."""

    def __init__(self, kept: _Images, held: _Images, settings: LevelTrainSettings) -> None:
        self._kept, self._held, self._settings = kept, held, settings

    def train_loader(self, epoch: int, shard: DataShard = WHOLE) -> Loader:
        """Return training necks of an epoch."""
        seed = self._settings.seed * 100_003 + epoch + 1
        return load_batches(self._kept.drawn(seed), self._settings, seed, shard)

    def val_loader(self) -> Loader:
        """Return the held-out necks."""
        return load_batches(self._held, self._settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Return what the network is given."""
        return (batch["views"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the challenge's loss."""
        return challenge_log_loss(outputs.float(), batch["truth"]).mean()

    def judge(self, answers: Iterable[tuple[torch.Tensor, Batch]]) -> dict[str, float]:
        """Return the held-out loss."""
        losses = [float(self.loss(outputs, batch)) * len(batch["truth"]) for outputs, batch in answers]
        return {VAL_LOSS: sum(losses) / max(len(self._held), 1)}


def _localized(storage: str = "jpeg8") -> Compiler:
    views = LevelViewSettings.model_validate({"storage": storage})
    return Compiler(CompileSettings(levels=views), Localizer.load())


KINDS: Final[dict[str, Callable[[], Compiler]]] = {
    "straight": lambda: STRAIGHT,
    "curved": _localized,
    "png16": lambda: _localized("png16"),
}

METHODS: Final[dict[str, tuple[str, Callable[[CompiledDataset, Path], tuple[Answer, float]]]]] = {
    "baseline-cnn": ("straight", baseline),
    "curved-9": ("curved", curved),
    "views-3": ("curved", levels((1, 1, 1))),
    "views-9": ("curved", levels((3, 3, 3))),
    "views-15": ("curved", levels((5, 5, 5))),
    "views-9-png16": ("png16", levels((3, 3, 3))),
}


if __name__ == "__main__":
    main()
