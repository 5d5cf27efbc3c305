"""Logging: silent until configured, text or JSON lines, and nothing of the process changed by the library."""

import io
import json
import logging
import subprocess
import sys

import pytest

from cspine.core.execution.parallel import parallel_map
from cspine.core.logging import configure_logging

LOGGER = logging.getLogger("cspine.example")


@pytest.fixture(autouse=True)
def _restored() -> object:
    logger = logging.getLogger("cspine")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_verbose_shows_info_and_the_default_warnings_only() -> None:
    for verbose, expected in ((False, 1), (True, 2)):
        stream = io.StringIO()
        configure_logging(verbose=verbose, stream=stream)

        LOGGER.info("3 studies")
        LOGGER.warning("1 failed")

        assert len(stream.getvalue().splitlines()) == expected


def test_json_lines_hold_level_logger_and_message_but_no_text_of_exceptions() -> None:
    stream = io.StringIO()
    configure_logging(verbose=True, json_lines=True, stream=stream)

    try:
        raise ValueError("Doe^Jane")
    except ValueError:
        LOGGER.exception("writing failed")

    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("ERROR", "cspine.example", "writing failed")
    assert entry["exception"] == "ValueError"
    assert "Doe" not in line


def test_configuring_twice_does_not_double_records() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    configure_logging(stream=second)

    LOGGER.warning("once")

    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_importing_the_library_changes_no_logger_and_no_warning_filter() -> None:
    script = (
        "import logging, warnings; before = (logging.root.handlers[:], logging.root.level, warnings.filters[:]); "
        "import highdicom, scipy.ndimage, onnxruntime; libraries = warnings.filters[:]; "
        "import cspine.pipelines.predict_batch; import cspine.dicom.discovery; "
        "assert (logging.root.handlers, logging.root.level) == before[:2]; "
        "assert warnings.filters == libraries; assert not logging.getLogger('cspine').handlers; print('unchanged')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unchanged"


def _warn(item: int) -> int:
    LOGGER.warning("item %d", item)
    return item


def test_worker_processes_log_as_their_parent_does(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(json_lines=True)

    outcomes = [outcome.get() for outcome in parallel_map(_warn, [1, 2, 3], workers=2)]

    lines = capfd.readouterr().err.splitlines()
    assert sorted(outcomes) == [1, 2, 3]
    assert sorted(json.loads(line)["message"] for line in lines) == ["item 1", "item 2", "item 3"]
