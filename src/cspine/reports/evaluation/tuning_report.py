"""A search over settings as a section."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table

_MAX_ROWS: Final = 25
_HIDDEN: Final = ("retry_of", "error")


def tuning_summary(summary: Mapping[str, Any]) -> str:
    """Return a sentence on the best trial.

    Parameters
    ----------
    summary : mapping
        As of ``result.json``.
    """
    counts = ", ".join(f"{count} {state}" for state, count in summary["trials"].items()) or "none"
    best = summary["best"]
    if best is None:
        return f"No trial is finished yet ({counts})."
    return f"Best {summary['metric']}: {best['value']:.4f} in trial {best['trial']} (trials: {counts})."


def tuning_sections(table: pd.DataFrame, summary: Mapping[str, Any]) -> tuple[Section, ...]:
    """Return the section with the best trials.

    Parameters
    ----------
    table : DataFrame
        One row per trial.
    summary : mapping
        As of ``result.json``.
    """
    is_low = summary["direction"] == "minimize"
    ordered = table.sort_values("value", ascending=is_low, na_position="last") if len(table) else table
    columns = [name for name in table.columns if name not in _HIDDEN]
    rows = tuple(tuple(_cell(row[name]) for name in columns) for _, row in ordered.head(_MAX_ROWS).iterrows())
    text = (
        tuning_summary(summary),
        f"{summary['model']}: of a trial the best epoch's {summary['metric']} on the validation set counts. The best "
        "of many trials is optimistic on that set: evaluate the chosen settings once on studies that no trial saw. "
        "Importances are those of a functional analysis of variance over the finished trials.",
    )
    title = "Trials" if len(table) <= _MAX_ROWS else f"The best {_MAX_ROWS} of {len(table)} trials"
    return (Section(title, text, Table(tuple(columns), rows), "tuning.png"),)


def _cell(value: object) -> str:
    """Return a value as text: numbers with four significant digits."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is not equal to itself
        return NOT_AVAILABLE
    return f"{value:.4g}" if isinstance(value, float) else str(value)
