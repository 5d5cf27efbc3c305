"""What fuzzing found stays found: the corpus is replayed, and a few fresh mutations of it are tried."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import CORPUS
from tests.fuzz.seeds import write_seeds
from tests.fuzz.target import run_one

INPUTS = sorted(path for path in CORPUS.iterdir() if path.is_file())


@pytest.mark.filterwarnings("ignore")
def test_the_corpus_is_read_or_refused_by_one_sentence(tmp_path: Path) -> None:
    outcomes = {path.name: run_one(path.read_bytes(), tmp_path) for path in INPUTS}

    assert {"read", "not_assessable"} <= set(outcomes.values())


def test_the_seeds_are_all_read(tmp_path: Path) -> None:
    write_seeds(tmp_path)

    for path in sorted(tmp_path.iterdir()):
        assert run_one(path.read_bytes(), tmp_path) == "read", path.name


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None, derandomize=True)  # the harness is for new ground
@given(data=st.data())
def test_bytes_changed_anywhere_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    seed = bytearray(data.draw(st.sampled_from(INPUTS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(seed) - 1, 0)))
        seed[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))

    assert run_one(bytes(seed), tmp_path_factory.getbasetemp())
