"""The command line: a thin skin over the library, one file per command.

Every command imports what it needs when it runs, so that ``cspine --help`` is quick.
"""

from cspine.cli import (
    ablate,
    acceptance,
    calibrate,
    deidentify,
    demo,
    describe,
    duplicates,
    evaluate,
    import_,
    insert,
    inspect,
    localize,
    merge,
    monitor,
    predict,
    robustness,
    run,
    serve,
    slurm,
    split,
    submit,
    synth,
    train,
    tune,
    weights,
)
from cspine.cli import compile as _compile
from cspine.cli.application import app, run_application

__all__ = ["app", "main"]

_COMMANDS = (
    inspect, localize, import_, duplicates, _compile, synth, insert, merge, slurm, describe, split, train, tune,
    evaluate, robustness, ablate, predict, run, serve, acceptance, calibrate, monitor, submit, deidentify, weights,
    demo,
)  # fmt: skip
_ORDER = [module.__name__.rpartition(".")[2].strip("_") for module in _COMMANDS]
app.registered_commands.sort(key=lambda command: _ORDER.index(command.name or ""))  # as one would use them


def main() -> None:
    """Run the command line."""
    run_application()
