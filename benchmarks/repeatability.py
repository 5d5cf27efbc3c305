"""Does a phantom keep its decisions when it is scanned again? With other noise, or half a pixel or slice further.

Phantoms of the shifted domain, with and without fractures, are changed as real necks are in
``python -m benchmarks.real_texture``, and each change is localized and classified anew by the shipped weights. Counted
are the vertebrae that stay on their side of the triage point; one that is not assessed any more has lost its decision.

Run: ``python -m benchmarks.repeatability --out DIR``; an interrupted run resumes. Declared on 30 November 2026, before
any study of the seed was drawn: 20 studies of seed 9102, generator 8. The weights after those were measured on the
same studies as generator 9 draws them; nothing was chosen on either.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.localization.variants import AS_IS
from benchmarks.progress import print_progress
from benchmarks.real_texture.measures import count_kept
from benchmarks.real_texture.predictions import TRIAGE
from benchmarks.real_texture.variants import VARIANTS
from benchmarks.real_texture.views import unlabeled_study
from benchmarks.tables import save_table
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import predict_dataset
from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import plain_json, write_json
from cspine.core.findings import Threshold
from cspine.core.identifiers import study_key
from cspine.core.processors import default_workers
from cspine.datasets.compiled import CompiledDataset
from cspine.localization.compiler import Compiler
from cspine.phantom import DOMAINS, render_study
from cspine.phantom.settings import GENERATOR
from cspine.reports.evaluation.sections import Table
from cspine.training.levels.phantom_dataset import straighten
from cspine.training.levels.rendered_study import finish

SEED: Final = 9102
STUDIES: Final = 20
DOMAIN: Final = "shifted"

REPEATS: Final = tuple(each for each in VARIANTS if each.role in {"as is", "repeat"})
"""The phantom as it is, and what is compared with it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", "--work", type=Path, required=True, help="run folder")
    parser.add_argument("--studies", type=int, default=STUDIES, help="fewer, to try the script: never of this seed")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the phantoms")
    options = parser.parse_args()
    classifier = LevelClassifier.load()
    compiler = Compiler(classifier.metadata.images, classifier.localizer)
    source = f"repeats of phantoms, generator {GENERATOR}, {DOMAIN}, seed {options.seed}"
    dataset = compiler.create_dataset(options.out / "views", source=source, is_phantom=True)
    outcomes = parallel_map(
        partial(write_repeats, dataset, compiler, options.seed),
        range(options.studies),
        is_done=partial(_is_written, dataset, options.seed),
        workers=default_workers(),
        progress=print_progress,
    )
    for outcome in outcomes:
        outcome.get()
    probability, _ = predict_dataset(finish(dataset), classifier, progress=print_progress)
    (point,) = (each for each in classifier.calibration.points if each.name == TRIAGE)
    kept = count_decisions(probability, point, options.seed, options.studies)
    write_json(options.out / "repeatability.json", plain_json({"seed": options.seed, "kept": kept}))
    save_table(options.out, "repeatability", to_table(kept))


def study_name(seed: int, index: int, variant: str) -> str:
    """Return the name of a phantom's variant."""
    return f"{DOMAIN}.{seed}.{index}.{variant}"


def _is_written(dataset: CompiledDataset, seed: int, index: int) -> bool:
    return all(dataset.record(study_key(study_name(seed, index, each.name))) is not None for each in REPEATS)


def write_repeats(dataset: CompiledDataset, compiler: Compiler, seed: int, index: int) -> None:
    """Draw a phantom, and compile it as it is and in each variant."""
    study = render_study(seed, index, DOMAINS[DOMAIN])
    volume = straighten(study.hu, study.affine_lps)
    for each in REPEATS:
        changed = each.variant.apply(volume, {})
        if changed is None:  # pragma: no cover - no repeat is the scan itself
            raise AssertionError(f"{each.name} changes nothing")
        rendered = unlabeled_study(study_name(seed, index, each.name), f"{DOMAIN}.{seed}.{index}", each.name, changed)
        rendered.write(dataset, compiler)


def count_decisions(probability: pd.DataFrame, point: Threshold, seed: int, studies: int) -> dict[str, dict[str, int]]:
    """Return the decisions of vertebrae and patients that each variant keeps, and their number.

    Parameters
    ----------
    probability : DataFrame
        One row per study and variant; columns patient and levels, NaN where there is no probability.
    point : Threshold
        Operating point.
    seed, studies : int
        The phantoms.

    Examples
    --------
    >>> names = [study_name(1, 0, each) for each in ("as-is", "noise-1")]
    >>> table = pd.DataFrame({"C1": [0.3, 0.1], "C2": [0.1, 0.2], "C3": [0.4, None]}, index=names)
    >>> point = Threshold(name="triage", target="an example", level=0.25, patient=0.5)
    >>> count_decisions(table, point, 1, 1)["noise-1"]
    {'vertebrae': 3, 'vertebrae kept': 1, 'patients': 0, 'patients kept': 0}
    """
    rows: dict[str, dict[str, float]] = {
        str(name): {str(column): value for column, value in row.dropna().items()}
        for name, row in probability.iterrows()
    }
    counts = {}
    for each in REPEATS:
        count = dict.fromkeys(("vertebrae", "vertebrae kept", "patients", "patients kept"), 0)
        for index in range(studies):
            before, after = (rows.get(study_name(seed, index, name), {}) for name in (AS_IS.name, each.name))
            for kind, columns, threshold in (
                ("vertebrae", VERTEBRAE, point.level), ("patients", (OVERALL,), point.patient),
            ):  # fmt: skip
                kept, number = count_kept({c: before[c] for c in columns if c in before}, after, threshold)
                count[kind] += number
                count[f"{kind} kept"] += kept
        if count["vertebrae"] and each.name != AS_IS.name:
            counts[each.name] = count
    return counts


def to_table(kept: dict[str, dict[str, int]]) -> Table:
    """Return the counts as a table, all variants together last."""
    descriptions = {each.name: each.variant.description for each in REPEATS}
    total = {name: sum(count[name] for count in kept.values()) for name in next(iter(kept.values()), {})}
    rows = [
        (
            descriptions.get(name, name),
            *(f"{count[f'{kind} kept']} of {count[kind]}" for kind in ("vertebrae", "patients")),
        )
        for name, count in (*kept.items(), ("all", total))
    ]
    return Table(("variant", "vertebrae that keep their decision", "patients"), tuple(rows))


if __name__ == "__main__":
    main()
