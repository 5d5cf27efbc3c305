"""Programs of other kinds that call `Detector`: threads, event loops, windows without streams, strict numbers."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine import Detector, Findings
from cspine.pipelines.predict_batch import predict_batch

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("baseline-cnn")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_series(folder, HU, spacing=(2.5, 3.0, 3.0))
    return folder


def in_threads(detector: Detector, study: Path) -> list[Findings]:
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(detector.predict, [study] * 3))


def in_an_event_loop(detector: Detector, study: Path) -> list[Findings]:
    async def predict() -> list[Findings]:
        return await asyncio.gather(*[asyncio.to_thread(detector.predict, study) for _ in range(3)])

    return asyncio.run(predict())


def without_streams(detector: Detector, study: Path) -> list[Findings]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        return [detector.predict(study)]


def where_numpy_raises(detector: Detector, study: Path) -> list[Findings]:
    with np.errstate(all="raise"):
        return [detector.predict(study)]


@pytest.mark.parametrize("call", [in_threads, in_an_event_loop, without_streams, where_numpy_raises])
def test_findings_are_those_of_a_script(
    detector: Detector, study: Path, call: Callable[[Detector, Path], list[Findings]]
) -> None:
    expected = detector.predict(study)

    for findings in call(detector, study):
        assert findings == expected


def test_a_batch_runs_outside_of_the_main_thread_whatever_the_folders_names(tmp_path: Path) -> None:
    folder, out = tmp_path / "[bold] [red]", tmp_path / "[out]"
    write_series(folder, HU, spacing=(2.5, 3.0, 3.0))

    with ThreadPoolExecutor(1) as pool:
        (result,) = pool.submit(predict_batch, folder, out).result()

    assert result.findings.series_reasons[0] == "16 axial slices 2.50 mm apart"
    assert result.findings == Findings.model_validate_json((out / "findings.json").read_bytes())
