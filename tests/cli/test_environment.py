"""Consoles, streams, names, homes and networks of machines that are not the developer's."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest
from tests.support.dicom import make_hu, write_series

from cspine.datasets.compiled import CompiledDataset

BASE_INSTALL = "import sys; sys.modules['requests'] = None; from cspine.cli import main; main()"
"""The command without requests, which the base install lacks: where it is there, pydicom imports it."""

ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "cp932": {"PYTHONIOENCODING": "cp932"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    words = [str(argument) for argument in arguments]
    settings: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120} | options
    return subprocess.run([sys.executable, "-m", "cspine", *words], check=False, **settings)  # type: ignore[call-overload,no-any-return]


def environment(variables: dict[str, str], *, home: Path | None = None) -> dict[str, str]:
    """Return this process's environment with other variables, and with another home where one is named."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    homes = {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""} if home else {}
    return {**inherited, **homes, **variables}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_series(folder, make_hu((16, 32, 40), (6.0, 3.0, 3.0)), spacing=(2.5, 3.0, 3.0))
    return folder


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_console_shows_the_table(study: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"

    done = run("predict", study, "--weights", "baseline-cnn", "--out", out, env=environment(ENCODINGS[name]))

    assert (done.returncode, b"unexpected" in done.stderr) == (0, False)
    assert b"C1-C7, any" in done.stdout
    assert b"#" in done.stdout
    json.loads(run("inspect", study, "--json", env=environment(ENCODINGS[name])).stdout.decode("ascii"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("options", [("inspect", "--json"), ("inspect",), ("--help",)])
def test_a_full_standard_output_is_one_sentence(study: Path, options: tuple[str, ...]) -> None:
    arguments = [options[0], *([study] if options[0] == "inspect" else []), *options[1:]]
    with Path("/dev/full").open("wb") as full:
        done = run(*arguments, stdout=full)

    assert done.returncode == 1
    assert done.stderr.decode().strip() == (
        "cspine: standard output cannot be written (No space left on device); "
        "redirect it and run the same command again"
    )


@pytest.mark.skipif(os.name != "posix", reason="closes streams with a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full"])
def test_closed_streams_lose_what_is_printed_and_nothing_else(study: Path, closed: str) -> None:
    command = f'"{sys.executable}" -m cspine inspect "$0" --json {closed}'

    done = subprocess.run(["sh", "-c", command, str(study)], capture_output=True, check=False, timeout=60)

    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_a_reader_that_leaves_needs_no_words(study: Path) -> None:
    command = f'"{sys.executable}" -m cspine inspect "$0" | true'

    done = subprocess.run(["sh", "-c", command, str(study)], capture_output=True, check=False, timeout=60)

    assert done.stderr == b""


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need a file system of bytes")
def test_names_that_are_not_utf8_are_compiled_and_listed(study: Path, tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff"))
    for name in (b"1\xe9", b"1\xff"):
        shutil.copytree(study, root / "train_images" / os.fsdecode(name))
    (root / "train_images" / os.fsdecode(b"1\xff") / os.fsdecode(b"\xfe.dcm")).write_bytes(b"no DICOM")
    out = Path(f"{root}-out")

    done = run("compile", root, "--straight", "--out", out, "--workers", 1)

    assert done.returncode == 0, done.stderr
    studies = CompiledDataset.open(out).studies()
    assert sorted(studies["study_instance_uid"]) == ["1\\xe9", "1\\xff"]
    assert len(CompiledDataset.open(out).manifest()) == 18


@pytest.mark.skipif(os.name != "posix", reason="users without a number are those of containers")
def test_a_user_without_name_and_home_reads_a_study(study: Path, tmp_path: Path) -> None:
    script = (
        "import pwd, sys\n"
        "def unknown(*_): raise KeyError('uid not found')\n"
        "pwd.getpwuid = pwd.getpwnam = unknown\n"
        "from cspine.models.registry import list_weights, weights_folder\n"
        "assert weights_folder() is None and len(list_weights()) == 3\n"
        "from cspine.cli import main\n"
        "main()\n"
    )
    lost = {"HOME", "USER", "LOGNAME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME", "CSPINE_WEIGHTS"}
    variables = {name: value for name, value in os.environ.items() if name not in lost}
    arguments = ["predict", str(study), "--weights", "baseline-cnn", "--out", str(tmp_path / "out")]

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=variables, capture_output=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "findings.json").is_file()


@pytest.mark.parametrize("command", ["predict", "localize"])
def test_nothing_leaves_the_machine(tmp_path: Path, command: str) -> None:
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("strace, which sees the sockets of native code too, is not installed")
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as study:
        traced = [tracer, "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", str(trace)]
        command_line = [sys.executable, "-c", BASE_INSTALL, command, str(study), "--out", str(tmp_path / "out")]
        done = subprocess.run(
            [*traced, *command_line], env=environment({}, home=home), capture_output=True, check=False, timeout=300
        )

    if b"ptrace" in done.stderr:
        pytest.skip("this sandbox allows no tracing")
    assert done.returncode == 0, done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []
    calls = [line for line in trace.read_text("utf-8", "replace").splitlines() if "AF_UNIX" not in line]
    assert not [line for line in calls if "AF_INET" in line]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals between programs")
def test_the_end_of_a_container_leaves_nothing_half_written(tmp_path: Path) -> None:
    hu = make_hu((16, 32, 40), (6.0, 3.0, 3.0))
    for number in range(1, 31):
        write_series(
            tmp_path / "in" / f"{number}", hu, spacing=(2.5, 3.0, 3.0), study=f"1.{number}", series=f"1.{number}.1"
        )
    command = [
        sys.executable,
        "-m",
        "cspine",
        "compile",
        str(tmp_path / "in"),
        "--straight",
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out" / "records").glob("1.*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 143
    assert stderr.decode().splitlines()[-1].startswith("cspine: interrupted; nothing is half-written")
    assert not list((tmp_path / "out").rglob(".*.part*"))
