"""The search space of `cspine tune`: one clear sentence on the first fault."""

from pathlib import Path

import pytest

from cspine.core.errors import InputError
from cspine.experiments.tuning.search_space import Choices, Range, read_search

GOOD = """
model = "levels"
trials = 12
pruner = "halving"

[settings]
epochs = 4
init_weights = "levels"

[search.learning_rate]
low = 1e-4
high = 1e-2
log = true

[search.batch_size]
low = 1
high = 8

[search.train_views]
choices = [[3, 3, 3], [5, 5, 5]]
"""


def read(text: str, folder: Path) -> str:
    path = folder / "search.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_search(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


def test_ranges_and_choices(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    path.write_text(GOOD, encoding="utf-8")

    search = read_search(path)

    assert search.search["learning_rate"] == Range(low=1e-4, high=1e-2, log=True)
    assert search.search["train_views"] == Choices(choices=((3, 3, 3), (5, 5, 5)))
    batch_size, learning_rate = search.search["batch_size"], search.search["learning_rate"]
    assert isinstance(batch_size, Range)
    assert isinstance(learning_rate, Range)
    assert (batch_size.is_whole, learning_rate.is_whole) == (True, False)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[search.learning_rate]", "[search.learnin_rate]", "learnin_rate is no setting of levels; did you mean"),
        ("high = 1e-2", "high = 1e-5", "search.learning_rate: low must be below high"),
        ("high = 1e-2", "high = 2.0", "search.learning_rate: 2.0: Input should be less than or equal to 1"),
        ("low = 1e-4", "low = 0.0", "search.learning_rate: low must be above 0 where log is true"),
        ("log = true", "log = true\nstep = 0.001", "search.learning_rate: give log or step, not both"),
        ("high = 1e-2\n", "", "search.learning_rate.high: Field required"),
        ("log = true", "logarithmic = true", "search.learning_rate.logarithmic: Extra inputs are not permitted"),
        ("[[3, 3, 3], [5, 5, 5]]", "[[3, 3, 3]]", "search.train_views.choices: "),
        ("[5, 5, 5]", "[0, 0, 0]", "search.train_views: (0, 0, 0): numbers of sagittal"),
        ("epochs = 4", "epochs = 0", "settings.epochs: 0: Input should be greater than or equal to 1"),
        ("epochs = 4", "batch_size = 4", "batch_size is both fixed and searched; keep one of the two"),
        ("[search.batch_size]", "[search.seed]", "seed cannot be searched: it decides what is measured"),
        ("trials = 12", "trials = 0", "trials: Input should be greater than or equal to 1"),
        ('model = "levels"', 'model = "localizer"', "model: Input should be 'levels' or 'baseline-cnn'"),
        ('pruner = "halving"', 'pruner = ', "is not TOML"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert before in GOOD

    assert read(GOOD.replace(before, after, 1), tmp_path).startswith(words)
