"""Training by torchrun on two nodes: two agents that meet on loopback, each with a process, by the gloo backend."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.support.orthanc import free_port
from tests.training.test_trainer import PlaneTask, build, make_settings

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 240


def train(out: Path, epochs: int, pause_s: float) -> None:
    """What each process runs: the plane's task, slowed down so that a signal arrives in the middle of an epoch."""
    from cspine.core.errors import PreemptedError
    from cspine.training.devices import open_fabric
    from cspine.training.trainer import fit

    class Slow(PlaneTask):
        def loss(self, outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            time.sleep(pause_s)
            (out / f"batch-{os.environ['RANK']}").touch()
            return super().loss(outputs, batch)

    settings = make_settings(epochs=epochs, batch_size=2)
    fabric = open_fabric(settings)
    out.mkdir(exist_ok=True)
    try:
        result = fit(fabric, build, Slow(settings), out, settings)
    except PreemptedError:
        (out / f"preempted-{fabric.global_rank}").touch()
        sys.exit(75)
    if result is not None:
        torch.save({"weights": result.network.state_dict(), "processes": fabric.world_size}, out / "result.pt")


def start_node(
    out: Path, port: int, *, nodes: int, processes: int, epochs: int, pause_s: float
) -> subprocess.Popen[str]:
    script = f"""
from pathlib import Path
from tests.training.test_several_nodes import train
train(Path({str(out)!r}), {epochs}, {pause_s})
"""
    program = out.parent / "train.py"
    program.write_text(script, encoding="utf-8")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes), "--nproc-per-node", str(processes),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "cspine", str(program),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(nodes: list[subprocess.Popen[str]]) -> list[int]:
    try:
        outputs = [node.communicate(timeout=TIMEOUT_S)[1] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    codes = [node.returncode for node in nodes]
    if any(codes):
        print(*outputs, sep="\n")  # noqa: T201 - why an agent failed
    return codes


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_two_nodes_train_the_network_of_two_processes_and_go_on_after_a_preemption(tmp_path: Path) -> None:
    options = {"epochs": 3, "pause_s": 0.0}
    one = tmp_path / "one"
    assert finish([start_node(one, free_port(), nodes=1, processes=2, **options)]) == [0]  # type: ignore[arg-type]
    two, port = tmp_path / "two", free_port()
    assert finish([start_node(two, port, nodes=2, processes=1, **options) for _ in range(2)]) == [0, 0]  # type: ignore[arg-type]
    expected, result = (torch.load(folder / "result.pt", weights_only=True) for folder in (one, two))
    assert (expected["processes"], result["processes"]) == (2, 2)
    for name, value in expected["weights"].items():
        assert torch.equal(result["weights"][name], value), name

    stopped, port = tmp_path / "stopped", free_port()
    nodes = [start_node(stopped, port, nodes=2, processes=1, epochs=3, pause_s=0.5) for _ in range(2)]
    deadline = time.monotonic() + TIMEOUT_S
    while not (stopped / "batch-1").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    nodes[0].send_signal(signal.SIGTERM)  # one node is taken away: both stop at the same step
    assert all(finish(nodes))
    assert (stopped / "preempted-0").exists()
    assert (stopped / "preempted-1").exists()
    port = free_port()
    assert finish([start_node(stopped, port, nodes=2, processes=1, **options) for _ in range(2)]) == [0, 0]  # type: ignore[arg-type]
    resumed = torch.load(stopped / "result.pt", weights_only=True)
    for name, value in expected["weights"].items():
        assert torch.equal(resumed["weights"][name], value), name
