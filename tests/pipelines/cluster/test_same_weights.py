"""What shards and workers use is what the merge and the command use: weights, data sets, providers and paths."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.views import EmptyLocalizer

from cspine.core.errors import InputError
from cspine.core.execution.parallel import WorkerStartError
from cspine.core.files import write_json
from cspine.core.findings import WeightsIdentity
from cspine.datasets.compiled import CompiledDataset
from cspine.localization.compiler import Compiler
from cspine.localization.localizer import Localizer, _load_cached, fallback_warning
from cspine.pipelines import predict_batch as predicting
from cspine.pipelines.case_folder import PredictSettings
from cspine.pipelines.cluster import classify
from cspine.pipelines.evaluate import EvaluateSettings
from cspine.views.settings import CompileSettings


@pytest.mark.parametrize(("weights", "data"), [("new", "same"), ("same", "new")])
def test_a_merge_refuses_what_was_changed_since_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str, data: str
) -> None:
    identity = {"run": str(tmp_path / "run"), "data": str(tmp_path / "data"), "weights": "same", "data_sha256": "same"}
    write_json(tmp_path / classify.SHARDED_MARKER, identity)
    monkeypatch.setattr(
        classify, "load_classifier", lambda _: SimpleNamespace(identity=SimpleNamespace(sha256=weights))
    )
    monkeypatch.setattr(CompiledDataset, "open", lambda _: SimpleNamespace(sha256=data))
    records: Any = None  # not looked at

    with pytest.raises(
        InputError, match=r"was changed since the shards used it; delete shards/ in .* and run them again"
    ):
        classify.merge_classified(tmp_path, records)


def test_paths_of_a_divided_evaluation_do_not_depend_on_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = classify._resolved(EvaluateSettings(split=Path("split.json"), part="test", subgroups=tmp_path / "a.csv"))

    assert (settings.split, settings.subgroups) == (tmp_path.resolve() / "split.json", tmp_path.resolve() / "a.csv")
    assert (settings.part, settings.boxes) == ("test", None)


def test_a_worker_with_other_weights_is_refused() -> None:
    detector = predicting._detector(PredictSettings())
    case: Any = SimpleNamespace(settings=PredictSettings())

    with pytest.raises(WorkerStartError, match="a worker has other weights or another execution provider"):
        predicting._predict_in_worker(case, {**predicting._identity(detector), "weights": "0" * 64})
    localizer = Localizer.load(threads=1)
    function, arguments = localizer.__reduce__()
    assert function(*arguments).sha256 == localizer.sha256
    assert arguments[1] == "cpu", "not what the environment of a worker says"
    with pytest.raises(WorkerStartError, match="a worker has another localizer"):
        _load_cached(None, "cpu", 1, "0" * 64)


class _OnGpu(EmptyLocalizer):
    """A localizer that another provider than the CPU's runs."""

    @property
    def identity(self) -> WeightsIdentity:
        return super().identity.model_copy(update={"execution_provider": "CUDAExecutionProvider"})


def test_a_data_set_records_the_provider_of_its_localizer(tmp_path: Path) -> None:
    for name, localizer in (("cpu", EmptyLocalizer()), ("gpu", _OnGpu())):
        Compiler(CompileSettings(), localizer).create_dataset(tmp_path / name, source="nowhere", is_phantom=True)

    identities = [json.loads((tmp_path / name / "dataset.json").read_bytes()) for name in ("cpu", "gpu")]
    assert identities[1] == {**identities[0], "provider": "CUDAExecutionProvider"}
    assert "provider" not in identities[0]
    assert fallback_warning(_OnGpu()) == fallback_warning(Localizer.load(threads=1)) == ()
