"""Replay of the fuzzing corpus, and of some new mutations of it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import CORPUS
from tests.fuzz.seeds import write_seeds
from tests.fuzz.target import run_one

INPUTS = sorted(path for path in CORPUS.iterdir() if path.is_file())


@pytest.mark.filterwarnings("ignore")
def test_the_corpus_is_read_or_rejected_with_one_line(tmp_path: Path) -> None:
    outcomes = {path.name: run_one(path.read_bytes(), tmp_path) for path in INPUTS}

    assert {"read", "not_assessable"} <= set(outcomes.values())


def test_the_seeds_are_all_read(tmp_path: Path) -> None:
    write_seeds(tmp_path)

    for path in sorted(tmp_path.iterdir()):
        assert run_one(path.read_bytes(), tmp_path) == "read", path.name


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None, derandomize=True)  # the harness explores further
@given(data=st.data())
def test_mutated_inputs_are_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(INPUTS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, max(len(seed) - 1, 0)))
        seed[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))

    assert run_one(bytes(seed), tmp_path_factory.getbasetemp())
