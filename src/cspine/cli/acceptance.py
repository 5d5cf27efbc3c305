"""``cspine acceptance``: a test study through the whole way of a site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cspine.cli.application import app, exit_code, handle_errors, print_json, say, say_error, say_research_only
from cspine.cli.options import Json
from cspine.core.errors import InputError
from cspine.core.extras import require_extra

if TYPE_CHECKING:
    from cspine.server.acceptance.run import SourceReport
    from cspine.server.settings import TlsSettings

_EPILOG = "Example:  cspine acceptance --node 127.0.0.1:11112 --server http://127.0.0.1:8042"


@app.command("acceptance", epilog=_EPILOG)
@handle_errors
def acceptance_command(
    node: Annotated[str, typer.Option("--node", help="HOST:PORT of the node, or of a PACS.")] = "127.0.0.1:11112",
    called: Annotated[str, typer.Option("--called", help="Its AE title.")] = "CSPINE",
    calling: Annotated[str, typer.Option("--calling", help="Our AE title; the node has to allow it.")] = "ACCEPTANCE",
    server: Annotated[str | None, typer.Option("--server", help="URL of `cspine serve`, asked for the answer.")] = None,
    server_token: Annotated[
        str | None, typer.Option("--server-token", help="File, or env:NAME, of a token of the server.")
    ] = None,
    archive: Annotated[
        str | None, typer.Option("--archive", help="DICOMweb URL of the PACS, where the report should arrive.")
    ] = None,
    archive_token: Annotated[
        str | None, typer.Option("--archive-token", help="File, or env:NAME, of the PACS's bearer token.")
    ] = None,
    scan: Annotated[
        Path | None, typer.Option("--scan", help="Intact scan of the site, for a virtual fracture; else a phantom.")
    ] = None,
    vertebrae: Annotated[
        Path | None, typer.Option("--vertebrae", help="Segmentation of that scan, in the localizer's place.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the virtual fracture.")] = 0,
    timeout: Annotated[float, typer.Option("--timeout", min=1.0, help="Longest wait for the answer, in s.")] = 900.0,
    tls: Annotated[
        str | None, typer.Option("--tls", help="CERTIFICATE,KEY,AUTHORITY (PEM files) for DICOM over TLS.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Send a test study by DICOM and check that its answer comes back: level, place, and time to notification.

    The study is a phantom, or an intact scan of the site with a virtual fracture, with new UIDs in every run. Exit code
    1: no answer in time, or a wrong one.
    """
    require_extra("serve")
    if scan is not None:
        require_extra("evaluate")
    from cspine.server.acceptance.run import AcceptanceSettings, run_acceptance

    host, _, port = node.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--node {node}: write it as HOST:PORT")
    settings = AcceptanceSettings(
        host=host, port=int(port), called=called, calling=calling, tls=_tls(tls), server=server,
        server_token=server_token, archive=archive, archive_token=archive_token, scan=scan, vertebrae=vertebrae,
        seed=seed, timeout_s=timeout,
    )  # fmt: skip
    report = run_acceptance(settings)
    if as_json:
        print_json(report.as_json())
    else:
        say(f"Sent {report.n_objects} slices ({report.kind}) to {called} in {report.send_s:.1f} s.")
        for each in report.sources:
            _show(each)
    say_research_only()
    return exit_code(complete=report.is_good)


def _show(report: "SourceReport") -> None:
    after = "" if report.seconds is None else f" after {report.seconds:.0f} s"
    (say if report.is_good else say_error)(f"{report.source}: {report.message}{after}")
    for row in report.levels:
        probability = "-" if row["probability"] is None else f"{row['probability']:.2f}"
        distance = "no place" if row["distance_mm"] is None else f"{row['distance_mm']:.0f} mm away"
        verdict = "suspicious" if row["is_suspicious"] else "missed"
        say(f"  {row['level']} {row['fracture_type']}: {verdict}, probability {probability}, {distance}")
    if report.false_alarms:
        say(f"  suspicious without a fracture: {', '.join(report.false_alarms)}")


def _tls(text: str | None) -> "TlsSettings | None":
    from cspine.server.settings import TlsSettings

    if text is None:
        return None
    parts = [Path(part) for part in text.split(",")]
    if len(parts) != 3:
        raise InputError("--tls: give certificate, key and authority, separated by commas")
    return TlsSettings(certificate=parts[0], key=parts[1], authority=parts[2])
