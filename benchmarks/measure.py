"""Figures: measured side by side in one run, printed with their target, their n and their spread."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Samples:
    """What was measured, several times."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def spread(self) -> str:
        """How many there are, the least and the greatest."""
        return f"n={len(self.values)}, {number(min(self.values))} to {number(max(self.values))}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    what: str
    value: float
    unit: str
    target: float
    more_is_better: bool
    spread: str
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.more_is_better else self.value <= self.target

    def __str__(self) -> str:
        """Return the row for a terminal."""
        bound = ">=" if self.more_is_better else "<="
        verdict = "ok   " if self.met else "SHORT"
        unit = f" {self.unit}" if self.unit else ""
        note = f" [{self.note}]" if self.note else ""
        return (
            f"{verdict} {self.what}: {number(self.value)}{unit} "
            f"(target {bound} {number(self.target)}{unit}; {self.spread}){note}"
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two ways of doing one thing, timed in turns."""

    ours: Samples
    theirs: Samples

    @property
    def ratios(self) -> Samples:
        """Ours through theirs, pair by pair."""
        both = zip(self.ours.values, self.theirs.values, strict=True)
        return Samples(tuple(ours / theirs for ours, theirs in both))

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """Return all pairs of several measurements."""
        return cls(
            Samples(tuple(value for part in parts for value in part.ours.values)),
            Samples(tuple(value for part in parts for value in part.theirs.values)),
        )

    def figure(self, what: str, target: float, unit: str = "images/s") -> Figure:
        """Return the row: how many times the other way's rate ours is."""
        return Figure(
            what, self.ratios.middle, "x", target, more_is_better=True, spread=self.ratios.spread,
            note=f"{number(self.ours.middle)} against {number(self.theirs.middle)} {unit}",
        )  # fmt: skip


def in_turns(
    ours: Callable[[], float],
    theirs: Callable[[], float],
    pairs: int,
    warm: Callable[[], object] | None = None,
) -> Pairs:
    """Measure two rates in turns; every second pair the other way round, so that drift cancels.

    `warm` fills caches and pools first; by default that is one unmeasured pair.
    """
    if warm:
        warm()
    else:
        ours(), theirs()
    mine: list[float] = []
    other: list[float] = []
    for pair in range(pairs):
        if pair % 2:
            other.append(theirs())
            mine.append(ours())
        else:
            mine.append(ours())
            other.append(theirs())
        say(f"pair {pair + 1}/{pairs}: {number(mine[-1])} against {number(other[-1])}")
    return Pairs(Samples(tuple(mine)), Samples(tuple(other)))


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a smoke test: few images, no verdict")
    made.add_argument("--json", type=Path, help="append the figures to this file, one per line")
    return made


def conclude(options: argparse.Namespace, figures: Sequence[Figure]) -> None:
    """Print the figures and end the process: status 1 if one falls short."""
    for figure in figures:
        print(figure, flush=True)
    if options.json:
        with options.json.open("a") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in figures)
    sys.exit(0 if options.quick or all(figure.met for figure in figures) else 1)


def say(text: str) -> None:
    """Tell a person how far it got."""
    print(f"  {text}", file=sys.stderr, flush=True)


def number(value: float) -> str:
    """Return a number as short as it may be read."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
