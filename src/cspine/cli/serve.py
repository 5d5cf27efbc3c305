"""``cspine serve``: studies come in by DICOM or HTTP, are predicted, and their results go out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cspine.cli.application import app, exit_code, handle_errors, say, say_error, say_research_only
from cspine.core.extras import require_extra

_EPILOG = "Examples:  cspine serve   |   cspine serve --config cspine.toml --check"


@app.command("serve", epilog=_EPILOG)
@handle_errors
def serve_command(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file of the settings; loopback and ./cspine-spool without one."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the settings and what they name, and end.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the settings' JSON schema, and end.")] = False,
    only: Annotated[
        Literal["keeper", "node", "web", "sender", "worker"] | None,
        typer.Option(
            "--only", help="Run this part alone, on this or another machine with the same spool and database."
        ),
    ] = None,
    number: Annotated[int, typer.Option("--number", min=1, help="Number of a worker, which tells it apart.")] = 1,
) -> int:
    """Run a server: a DICOM node, an HTTP interface with a worklist, workers, and the sending of results.

    Studies that arrive by C-STORE, STOW-RS or upload are predicted when they are complete. SIGTERM or Ctrl-C stops it;
    what it has acknowledged is kept.
    """
    require_extra("serve")
    from cspine.server.settings import ServerSettings, load_server_settings

    if schema:
        import json

        typer.echo(json.dumps(ServerSettings.model_json_schema(), indent=2))
        return exit_code(complete=True)
    settings = load_server_settings(config)
    if check:
        from cspine.server.check import check_server

        checks = check_server(settings)
        for each in checks:
            (say if each.is_good else say_error)(f"{'ok   ' if each.is_good else 'wrong'}  {each.name}: {each.message}")
        say_research_only()
        return exit_code(complete=all(each.is_good for each in checks))
    if only is not None:
        from cspine.server.roles import run_role

        run_role(only, settings, number=number)
        return exit_code(complete=True)
    from cspine.server.supervisor import Supervisor

    if settings.node.enabled:
        say(f"DICOM node: {settings.node.ae_title} at {settings.node.host}:{settings.node.port}")
    if settings.web.enabled:
        scheme = "https" if settings.web.certificate is not None else "http"
        say(f"Worklist: {scheme}://{settings.web.host}:{settings.web.port}/")
    say_research_only()
    Supervisor(settings, config).run()
    return exit_code(complete=True)
