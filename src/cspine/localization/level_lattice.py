"""Decoding of the hidden Markov model of levels: Viterbi and forward-backward over detections, sizes and levels.

Each detection may be followed by any one below it; detections between are left out. Levels of successive vertebrae
follow each other, or skip up to `MAX_SKIPPED` that were not detected; the last level may follow itself. All arrays are
``[detection, size, level]``: distances between vertebrae differ among patients, so that every column is rated at
several patient sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from cspine.core.typing import Floats, Indices
from cspine.localization.level_evidence import Detections
from cspine.spine.level_settings import LevelAssignmentSettings

MAX_SKIPPED: Final = 2
"""Successive vertebrae that may be missing."""

SIZES: Final = np.exp(np.linspace(-0.7, 0.4, 12))
"""Patient sizes that are tried, as factors of the mean distances."""


@dataclass(frozen=True)
class Lattice:
    """The columns of vertebrae that the detections of a scan can form.

    Attributes
    ----------
    detections : Detections
        From the head down.
    settings : LevelAssignmentSettings
        The numbers of the model.
    unary : (n, states)
        Log-odds of each detection at each level by itself; -inf where a level is excluded.
    is_chain : bool
        Whether all detections form the column, each followed by the next.
    """

    detections: Detections
    settings: LevelAssignmentSettings
    unary: Floats
    is_chain: bool = False

    def decode(self) -> tuple[Indices, Indices]:
        """Return the detections and the levels of the most likely column, (m,) each, by Viterbi decoding."""
        n, n_states = self.unary.shape
        best = self._log_start + self.unary[:, None]
        previous = np.full(best.shape, -1)  # number of the detection times states, plus level
        for below in range(n):
            for target, above, log_odds in self._transitions(below):
                total = best[above, :, target.source] + log_odds
                through = total.max(axis=0) + self.unary[below, target.levels]
                origin = (above.start + total.argmax(axis=0)) * n_states + target.source_levels
                is_better = through > best[below, :, target.levels]
                np.copyto(best[below, :, target.levels], through, where=is_better)
                np.copyto(previous[below, :, target.levels], origin, where=is_better)
        best += self._log_end
        at, size, level = (int(part) for part in np.unravel_index(best.argmax(), best.shape))
        path = []
        while at >= 0:
            path.append((at, level))
            at, level = divmod(int(previous[at, size, level]), n_states)
        members, levels = np.array(path[::-1], dtype=np.intp).reshape(-1, 2).T
        return members, levels

    def posterior(self) -> Floats:
        """Return the probability of each level for each detection as a part of the column, (n, states).

        The forward-backward algorithm (Rabiner 1989), summed over patient sizes and, unless all detections form the
        column, over the columns that hold the detection.
        """
        n = len(self.unary)
        forward = self._log_start + self.unary[:, None]
        backward = self._log_end
        for below in range(n):
            for target, above, log_odds in self._transitions(below):
                through = np.logaddexp.reduce(forward[above, :, target.source] + log_odds, axis=0)
                view = forward[below, :, target.levels]
                view[:] = np.logaddexp(view, through + self.unary[below, target.levels])
        for below in reversed(range(n)):
            for target, above, log_odds in self._transitions(below):
                through = log_odds + (self.unary[below] + backward[below])[None, :, target.levels]
                view = backward[above, :, target.source]
                view[:] = np.logaddexp(view, through)
        log_joint = np.logaddexp.reduce(forward + backward, axis=1) / self.settings.temperature
        return np.asarray(np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True)))

    def _transitions(self, below: int) -> Iterator[tuple["_Target", slice, Floats]]:
        """Yield the transitions to a detection by steps: levels reached, detections above, log-odds.

        The log-odds are ``[detection above, size, level reached]``.
        """
        above = slice(max(below - 1, 0) if self.is_chain else 0, below)
        if above.start == above.stop:
            return
        pose = self._pose[above, below, None, None]
        log_ratio = self._scaled(self._log_distance[above, below, None] - np.log(SIZES))[:, :, None]
        for target, log_skip, log_expected in self._steps:
            log_odds = log_ratio - log_expected
            np.square(log_odds, out=log_odds)
            np.minimum(log_odds, -self.settings.outlier_log_odds, out=log_odds)
            np.subtract(pose + log_skip, log_odds, out=log_odds)
            yield target, above, log_odds

    @cached_property
    def _steps(self) -> list[tuple["_Target", float, Floats]]:
        """The levels that each step reaches, its log-odds, and the scaled logarithms of the distances expected."""
        n_states = self.unary.shape[1]
        depths_mm = np.concatenate([[0.0], np.cumsum(self.settings.spacing_mm[: n_states - 1])])
        steps = [(step, depths_mm[step:] - depths_mm[:-step]) for step in range(1, MAX_SKIPPED + 2)]
        steps.append((0, np.array([self.settings.spacing_mm[n_states - 1]])))
        return [
            (
                _Target(n_states - len(expected_mm), n_states, step),
                self._log_skip(step),
                self._scaled(np.log(expected_mm)),
            )
            for step, expected_mm in steps
        ]

    def _log_skip(self, step: int) -> float:
        """Return the log-odds of the vertebrae that a step passes over; bones below S1 are as rare as those missing."""
        n_odd = max(step - 1, 0) if step else 1
        return n_odd * self.settings.skip_log_odds

    def _scaled(self, log_distance: Floats) -> Floats:
        """Return logarithms of distances such that half their squared deviations are log-likelihoods."""
        return np.asarray(log_distance / (np.sqrt(2.0) * self.settings.spacing_log_sd))

    @cached_property
    def _log_start(self) -> Floats:
        log_size = -0.5 * (np.log(SIZES) / self.settings.size_log_sd) ** 2
        log_odds = self.detections.log_start(self.settings, SIZES) + log_size[:, None]
        if self.is_chain:
            log_odds[1:] = -np.inf
        return np.asarray(log_odds)

    @property
    def _log_end(self) -> Floats:
        log_odds = self.detections.log_end(self.settings, SIZES)
        if self.is_chain:
            log_odds[:-1] = -np.inf
        return log_odds

    @cached_property
    def _log_distance(self) -> Floats:
        """The logarithm of the distance between each two detections, (n, n)."""
        return np.asarray(np.log(np.maximum(np.linalg.norm(self._ways, axis=2), 1e-3)))

    @cached_property
    def _ways(self) -> Floats:
        """The ways from each detection to each other, (n, n, 3) mm."""
        origins = self.detections.frames[:, :3, 3]
        return np.asarray(origins[None] - origins[:, None])

    @cached_property
    def _pose(self) -> Floats:
        """The log-odds of the direction and rotation between each two detections, (n, n)."""
        frames, distance_mm = self.detections.frames, np.exp(self._log_distance)
        down = -frames[:, :3, 2]
        along = np.einsum("abx,ax->ab", self._ways, down) + np.einsum("abx,bx->ab", self._ways, down)
        cosine = (np.einsum("axy,bxy->ab", frames[:, :3, :3], frames[:, :3, :3]) - 1.0) / 2.0
        direction_deg, rotation_deg = _degrees(along / distance_mm / 2.0), _degrees(cosine)
        log_odds = (
            -0.5 * (direction_deg / self.settings.direction_sd_deg) ** 2
            - 0.5 * (rotation_deg / self.settings.rotation_sd_deg) ** 2
        )
        return np.asarray(np.maximum(log_odds, self.settings.outlier_log_odds))


class _Target:
    """The levels that a step reaches: from one to the last of all, each `step` levels below where it began."""

    def __init__(self, start: int, stop: int, step: int) -> None:
        self.levels = slice(start, stop)
        self.source = slice(start - step, stop - step)
        self.source_levels = np.arange(start - step, stop - step)


def _degrees(cosine: Floats) -> Floats:
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
