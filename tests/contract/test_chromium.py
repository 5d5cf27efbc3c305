"""The pages in a browser: nothing sticks out at a phone's width, and printing makes a PDF."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.phantom import predict_case, write_phantom

from cspine.reports.html import render_report
from cspine.reports.worklist import StudyResult, prioritize, worklist_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = 500
"""The narrowest window that headless Chromium makes."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    case_result = predict_case(write_phantom(folder / "study"))
    rows = prioritize([StudyResult(case_result.findings, "", 0.0)])
    (folder / "report.html").write_text(render_report(case_result))
    (folder / "worklist.html").write_text(worklist_page(rows))
    return {name: folder / f"{name}.html" for name in ("report", "worklist")}


def chromium(folder: Path, *arguments: str) -> str:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize("width", [PHONE, 1100])
@pytest.mark.parametrize("name", ["report", "worklist"])
def test_nothing_sticks_out(pages: dict[str, Path], name: str, width: int, tmp_path: Path) -> None:
    measured = tmp_path / "measured.html"  # the page itself has no script; the copy tells how wide it is
    script = "<script>document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth</script>"
    measured.write_text(pages[name].read_text().replace("</body>", f"{script}</body>"))

    html = chromium(tmp_path, f"--window-size={width},900", "--dump-dom", measured.as_uri())

    found = re.search(r"<title>(\d+) of (\d+)</title>", html)
    assert found is not None
    assert int(found[1]) <= int(found[2])
    assert abs(int(found[2]) - width) <= 20


def test_printing_makes_a_pdf(pages: dict[str, Path], tmp_path: Path) -> None:
    chromium(tmp_path, f"--print-to-pdf={tmp_path / 'report.pdf'}", pages["report"].as_uri())

    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 8
    assert len(data) > 50_000
