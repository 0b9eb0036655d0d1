"""The answer that a reader wants first: what to run here, how fast, how accurate, and against what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lsts_edge.benchmarks.compare_result import CompareResult, CompareRow
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.page.document import Table
from lsts_edge.page.front_plot import FrontPlot, Mark
from lsts_edge.tables import number

__all__ = ["MOST_ROWS", "Headline", "find_headline"]

MOST_ROWS = 8


@dataclass(frozen=True)
class Headline:
    """A comparison in which accuracy was measured, and what follows from it.

    Attributes:
        result: the comparison.
        rows: its entries with an accuracy, the fastest from frame to boxes first; at least one.
    """

    result: CompareResult
    rows: tuple[CompareRow, ...]

    @property
    def front(self) -> list[CompareRow]:
        """Entries that none as fast is as accurate as, the fastest first."""
        found: list[CompareRow] = []
        for row in self.rows:
            if not found or _ap50(row) > _ap50(found[-1]):
                found.append(row)
        return found

    @property
    def best(self) -> CompareRow:
        """What to run: of the bundle's entries that propagate and are on the front the fastest, else of all on it."""
        ours = [row for row in self.front if row.model.propagated]
        return (ours or [row for row in self.front if row.entry.bundle] or self.front)[0]

    def sentences(self) -> Iterator[str]:
        """What to run, then its own network on every frame, then the fastest of each other method."""
        best, settings = self.best, self.result.settings
        every = f", a keyframe every {settings.keyframe_interval} frames" if best.model.propagated else ""
        fps = number(best.frame_to_boxes.all.fps)
        yield f"{self.result.bundle.name}: run {best.entry.label}{every}: {_told(best)} ({fps} frames a second)."
        alone = next((row for row in self.rows if row.entry.method == "per-frame"), None)
        if alone is not None and alone is not best:
            yield f"The same network on every frame takes at best {_told(alone)} ({alone.entry.label})."
        own = {"per-frame", best.entry.method}
        others = {row.entry.method: row for row in reversed(self.rows) if row.entry.method not in own}
        for row in sorted(others.values(), key=_ms):
            time = _beside(_ms(row), _ms(best), ("faster", "as fast", "slower"))
            accuracy = _beside(_ap50(row), _ap50(best), ("less accurate", "as accurate", "more accurate"))
            yield f"{row.entry.label} is {time} and {accuracy}: {_told(row)}."

    def tiles(self) -> Iterator[tuple[str, str]]:
        """Figures, and what each is of."""
        best, ratio = self.best, self.best.frame_to_boxes.ratio_same_engine
        yield best.entry.what, f"{best.entry.where}, {self.result.bundle.name}"
        yield f"{number(_ms(best))} ms", f"from frame to boxes, {number(best.frame_to_boxes.all.fps)} frames a second"
        if ratio is not None:
            yield f"{ratio.median:.2f} x as fast", f"as {ratio.against}, paired"
        if best.accuracy is not None:
            low, high = best.accuracy.ap50_class_agnostic_interval
            about = f"{self.result.settings.annotations}, {best.accuracy.sequences} sequences"
            yield f"{_ap50(best):.3f}", f"class-agnostic AP50, 95 % {low:.3f} to {high:.3f}; {about}"

    def plot(self) -> FrontPlot:
        """All entries, numbered from the fastest on."""
        front, marks = self.front, []
        for place, row in enumerate(self.rows, 1):
            low, high = row.accuracy.ap50_class_agnostic_interval if row.accuracy else (None, None)
            entry, told = row.entry, f"{row.entry.label}: {_told(row)}"
            ends = (low, high, row in front, row is self.best)
            marks.append(Mark(_ms(row), _ap50(row), place, entry.label, told, entry.method, *ends))
        return FrontPlot(marks, "mean ms from frame to boxes (left is better)", "class-agnostic AP50 (up is better)")

    def table(self) -> Table:
        """At most eight entries, numbered as in the plot: of each method the fastest, the best, more of the front."""
        first = {row.entry.method: row for row in reversed(self.rows)}
        front = self.front
        wanted = {row.entry.label: row for row in (front[0], front[-1], self.best, *first.values(), *front)}
        kept = list(wanted)[:MOST_ROWS]
        shown = [(place, row) for place, row in enumerate(self.rows, 1) if row.entry.label in kept]
        header = ("", "ms, frame to boxes", "fps", "x per-frame, same engine", "AP50", "on the front", "engine")
        lines = []
        for place, row in shown:
            ratio = row.frame_to_boxes.ratio_same_engine
            line = [f"{place} {row.entry.what}", number(_ms(row)), number(row.frame_to_boxes.all.fps)]
            line += [f"{ratio.median:.2f}" if ratio else "-", f"{_ap50(row):.3f}", "yes" if row in front else "no"]
            lines.append([*line, row.entry.where])
        return Table(header, lines, frozenset(index for index, (_, row) in enumerate(shown) if row is self.best))


def find_headline(results: Sequence[Result]) -> Headline | None:
    """From the comparison with most of a user's alternatives, then most entries; None where none has an accuracy."""
    found = []
    for result in results:
        rows = [row for row in result.data.rows if row.accuracy] if isinstance(result, CompareResult) else []
        if isinstance(result, CompareResult) and rows:
            found.append(Headline(result, tuple(sorted(rows, key=lambda row: (_ms(row), -_ap50(row))))))
    return max(found, key=lambda one: (_alternatives(one), len(one.rows)), default=None)


def _alternatives(headline: Headline) -> int:
    """How many of those that a user would run instead take part: another detector, or nothing learned."""
    instead = {"yolox-nano", "nanodet-plus", "hold", "flow-boxes", "smaller-input"}
    return len(instead & {row.entry.method for row in headline.rows})


def _beside(value: float, other: float, words: tuple[str, str, str]) -> str:
    """The word for less, as much, or more."""
    return words[1 + (value > other) - (value < other)]


def _told(row: CompareRow) -> str:
    return f"{number(_ms(row))} ms from frame to boxes at AP50 {_ap50(row):.3f}"


def _ms(row: CompareRow) -> float:
    return row.frame_to_boxes.all.mean_ms


def _ap50(row: CompareRow) -> float:
    return row.accuracy.ap50_class_agnostic if row.accuracy else 0.0
