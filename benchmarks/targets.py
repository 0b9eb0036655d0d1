"""What we promise about speed, each held against stored results: wanted, measured, met or by how much not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lsts_edge.benchmarks.compare_result import CompareResult, CompareRow, EntryAccuracy, EntryFacts
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.benchmarks.latency_result import LatencyResult
from lsts_edge.benchmarks.op_result import OpResult
from lsts_edge.errors import BenchmarkResult
from lsts_edge.tables import markdown_table, number

__all__ = ["TARGETS_BEGIN", "TARGETS_END", "TargetRow", "check_targets", "target_table", "targets_block"]

TARGETS_BEGIN = "<!-- targets:begin -->"
TARGETS_END = "<!-- targets:end -->"

_OUTSIDE_LIGHT_SHARE = 0.10
_SCHEDULE_RATIO = 2.5
_SHARE_OF_BOUND = 0.9
_BEST_RATIO = 8.0
_OVERHEAD_MS = 1.0
_COLD_START_MS = 1500.0
_DEFAULT_BUNDLE = "picodet-s-coco"
_RESIDENT_MIB = 300e6 / 2**20


@dataclass(frozen=True)
class TargetRow:
    """One promise. ``share`` is how much of it was reached, 1 or more when met; None: no result tells.

    ``detail`` says of which entry, for the table.
    """

    what: str
    wanted: str
    measured: str
    share: float | None
    detail: str = ""

    @property
    def verdict(self) -> str:
        """``met``, how much of it was reached, or ``not measured``."""
        if self.share is None:
            return "not measured"
        return "met" if self.share >= 1 else f"missed: {100 * self.share:.0f} % of it"


def check_targets(results: Sequence[Result]) -> list[TargetRow]:
    """Every target of ``docs/benchmarks.md`` against results of one device; what no result tells is said to be so.

    Args:
        results: comparisons, latencies and the op; others are ignored.
    """
    compares = [result for result in results if isinstance(result, CompareResult)]
    every = [result for result in results if isinstance(result, LatencyResult)]
    latencies = [result for result in every if result.bundle.name == "lsts-lite"]
    return [
        *_paper_size(compares),
        *_best_precision(compares),
        *_end_to_end(latencies, compares),
        *_default([result for result in every if result.bundle.name == _DEFAULT_BUNDLE]),
        *_runtime(latencies),
        *_peer(compares),
        *_op([result for result in results if isinstance(result, OpResult)]),
    ]


def target_table(rows: Iterable[TargetRow]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and lines of the table."""
    lines = [[r.what, r.wanted, r.measured + (f" ({r.detail})" if r.detail else ""), r.verdict] for r in rows]
    return ("target", "wanted", "measured", "verdict"), lines


def targets_block(results: Sequence[Result]) -> str:
    """The table as Markdown.

    Raises:
        BenchmarkResult: if no result tells about any target.
    """
    rows = check_targets(results)
    if all(row.share is None for row in rows):
        got, fix = "no result that tells about one", "Give results of bench compare, latency or op."
        raise BenchmarkResult("table of targets", got=got, expected="at least one", fix=fix)
    return markdown_table(*target_table(rows))


def _rows(compares: Sequence[CompareResult], bundle: str, keep: Callable[[CompareRow], bool]) -> list[CompareRow]:
    """Entries of every comparison of a bundle, the fastest first."""
    found = [row for result in compares if result.bundle.name == bundle for row in result.data.rows]
    return sorted(filter(keep, found), key=lambda row: row.model.all.mean_ms)


def _paper_size(compares: Sequence[CompareResult]) -> list[TargetRow]:
    what = "lsts-r101, ONNX Runtime fp32: "

    def split(row: CompareRow) -> bool:
        entry = row.entry
        return entry.method == "lsts" and entry.engine == "onnxruntime" and entry.precision.is_fp32

    found = [
        (row, row.bound, row.model.ratio_same_engine)
        for row in _rows(compares, "lsts-r101", split)
        if row.bound is not None and row.model.ratio_same_engine is not None
    ]
    outside = what + "share of a propagated frame outside the light graph"
    ratio = what + "schedule, interval 10, against per-frame R-FCN"
    best = what + "the same against 10 heavy / (heavy + 9 light) of the run"
    wanted = (
        f"at most {_OUTSIDE_LIGHT_SHARE:.0%}",
        f"at least {_SCHEDULE_RATIO} x",
        f"at least {_SHARE_OF_BOUND} of it",
    )
    if not found:
        return [TargetRow(name, text, "-", None) for name, text in zip((outside, ratio, best), wanted, strict=True)]
    row, bound, against = found[0]
    share, times = bound.outside_light_share, against.median
    part = times / bound.schedule
    return [
        TargetRow(outside, wanted[0], f"{share:.1%}", _OUTSIDE_LIGHT_SHARE / share, row.entry.label),
        TargetRow(ratio, wanted[1], f"{times:.2f} x", times / _SCHEDULE_RATIO),
        TargetRow(best, wanted[2], f"{part:.2f} of {bound.schedule:.2f} x", part / _SHARE_OF_BOUND),
    ]


def _best_precision(compares: Sequence[CompareResult]) -> list[TargetRow]:
    """Schedule x precision; the same-precision ratio stands beside it."""
    found = []
    for name in ("lsts-lite", "lsts-r101"):
        what = f"{name}: best precision and schedule against fp32 per frame on the fastest engine"
        rows = _rows(compares, name, _is_gated)
        if not rows:
            found.append(TargetRow(what, f"at least {_BEST_RATIO:.0f} x", "-", None))
            continue
        whole, schedule = rows[0].model.ratio_fastest_fp32, rows[0].model.ratio_same_engine
        assert whole is not None and schedule is not None  # _is_gated
        times, same = whole.median, schedule.median
        text = f"{times:.2f} x = {same:.2f} x schedule, {times / same:.2f} x precision and engine"
        share = times / _BEST_RATIO
        found.append(TargetRow(what, f"at least {_BEST_RATIO:.0f} x", text, share, rows[0].entry.label))
    return found


def _end_to_end(latencies: Sequence[LatencyResult], compares: Sequence[CompareResult]) -> list[TargetRow]:
    found = []
    for size, written, least in (((360, 640), False, 60), ((720, 1280), False, 30), ((360, 640), True, 30)):
        what = f"lsts-lite end to end, {size[1]}x{size[0]}" + (", H.264 written" if written else ", no video written")
        fits = [result for result in latencies if _decodes(result, size, written)]
        rates = {result.data.times.all.end_to_end.fps: result for result in fits}
        if not rates:
            found.append(TargetRow(what, f"at least {least} fps", "-", None))
            continue
        fps = max(rates)
        detail = rates[fps].label + _accuracy(rates[fps], compares)
        found.append(TargetRow(what, f"at least {least} fps", f"{number(fps)} fps", fps / least, detail))
    return found


def _decodes(result: LatencyResult, size: tuple[int, int], written: bool) -> bool:
    """Whether it ran as fast as it could on an encoded video of a size."""
    settings = result.settings
    alike = settings.clip.frame_px == size and settings.write_video is written
    return alike and settings.clip.decodes and settings.pace_fps is None


def _default(latencies: Sequence[LatencyResult]) -> list[TargetRow]:
    """The detector that comes with the package, decoding in turn and beside detection, on the engine that is faster."""
    fits = [result for result in latencies if _decodes(result, (360, 640), False)]
    beside = [(result.data.read_ahead.beside.fps, result) for result in fits if result.data.read_ahead is not None]
    in_turn = [(result.data.times.all.end_to_end.fps, result) for result in fits]
    found = []
    for what, least, rates in (("decoding in turn", 200, in_turn), ("decoding beside detection", 250, beside)):
        what, wanted = f"default bundle end to end, 640x360, {what}", f"at least {least} fps"
        if not rates:
            found.append(TargetRow(what, wanted, "-", None))
            continue
        fps, result = max(rates, key=lambda pair: pair[0])
        found.append(TargetRow(what, wanted, f"{number(fps)} fps", fps / least, result.label))
    return found


def _accuracy(result: LatencyResult, compares: Sequence[CompareResult]) -> str:
    """AP50 of the same bundle on the same engine at the same interval, where a comparison measured it."""
    for row in _rows(compares, result.bundle.name, lambda row: row.entry.method == "lsts"):
        same = (row.entry.bundle, row.entry.engine) == (result.bundle.digest, result.settings.engine.backend)
        if same and row.accuracy and row.accuracy.keyframe_interval == result.settings.keyframe_interval:
            return f", AP50 {row.accuracy.ap50_class_agnostic:.3f}"
    return ""


def _runtime(latencies: Sequence[LatencyResult]) -> list[TargetRow]:
    overhead = min(
        (
            result.data.times.all.overhead.p50_ms
            for result in latencies
            if result.settings.clip.frame_px == (360, 640) and not result.settings.write_video
        ),
        default=None,
    )
    rows = [
        TargetRow(
            "lsts-lite: runtime outside sessions, 640x360",
            f"at most {_OVERHEAD_MS:.0f} ms a frame",
            f"{number(overhead)} ms" if overhead is not None else "-",
            None if overhead is None else _OVERHEAD_MS / overhead,
        )
    ]
    start, memory = "lsts-lite: import, load, first boxes", "lsts-lite: resident memory"
    colds = [(result.data.cold_start, result) for result in latencies if result.data.cold_start]
    if not colds:
        wanted = ((start, "at most 1.5 s"), (memory, "at most 300 MB"))
        return [*rows, *(TargetRow(what, text, "-", None) for what, text in wanted)]
    cold, result = min(colds, key=lambda pair: pair[0].phases["total"].p50_ms)
    took, resident = cold.phases["total"].p50_ms, cold.memory["rss_mib"]
    rows.append(TargetRow(start, "at most 1.5 s", f"{took / 1e3:.2f} s", _COLD_START_MS / took, result.label))
    megabytes = resident * 2**20 / 1e6
    rows.append(TargetRow(memory, "at most 300 MB", f"{megabytes:.0f} MB", _RESIDENT_MIB / resident))
    return rows


_PEER = "lsts-lite against YOLOX-Nano, same input"
_PEER_WANTED = "faster (paired) and more accurate (class-agnostic AP50) at once"


@dataclass(frozen=True)
class _Side:
    """An entry with what the comparison of peers needs of it."""

    entry: EntryFacts
    accuracy: EntryAccuracy
    times_per_frame: float  # frame to boxes, against the same per-frame entry

    @classmethod
    def of(cls, row: CompareRow) -> _Side | None:
        ratio = row.frame_to_boxes.ratio_fastest_fp32
        return None if row.accuracy is None or ratio is None else cls(row.entry, row.accuracy, ratio.median)

    @property
    def engine(self) -> str:
        """The engine and what it computes in: int8 graphs are ours to choose, bf16 is the engine's."""
        precision = self.entry.precision.engine
        return self.entry.engine + ("" if precision == "fp32" else f" in {precision}")


@dataclass(frozen=True)
class _Meeting:
    """An entry of ours and YOLOX-Nano's, on one engine in one run."""

    mine: _Side
    theirs: _Side

    @property
    def faster(self) -> float:
        """Frame to boxes, by segments: both were paired with the same per-frame entry."""
        return self.mine.times_per_frame / self.theirs.times_per_frame

    @property
    def more_accurate(self) -> float:
        return self.mine.accuracy.ap50_class_agnostic / self.theirs.accuracy.ap50_class_agnostic

    @property
    def share(self) -> float:
        return min(self.faster, self.more_accurate)

    def row(self, engine: str) -> TargetRow:
        percent = 100 * (1 / self.faster - 1)
        time = f"{abs(percent):.0f} % {'more' if percent > 0 else 'less'} time"
        mine, theirs = self.mine.accuracy, self.theirs.accuracy
        measured = f"{time}, {mine.ap50_class_agnostic:.3f} against {theirs.ap50_class_agnostic:.3f}"
        detail = f"{self.mine.entry.label}, interval {mine.keyframe_interval}{_by_class(mine, theirs)}"
        return TargetRow(f"{_PEER}, {engine}", _PEER_WANTED, measured, self.share, detail)


def _peer(compares: Sequence[CompareResult]) -> list[TargetRow]:
    """On each engine, at float32 and at bf16 apart: of ours, the fastest that is more accurate, else the closest."""
    meetings: dict[str, list[_Meeting]] = {}
    for result in compares:
        rows = result.data.rows if result.bundle.name == "lsts-lite" else ()
        sides = [side for side in map(_Side.of, rows) if side is not None]
        for theirs in (side for side in sides if side.entry.method == "yolox-nano"):
            ours = [side for side in sides if side.entry.method == "lsts" and side.engine == theirs.engine]
            meetings.setdefault(theirs.engine, []).extend(_Meeting(mine, theirs) for mine in ours)
    best = {
        engine: max(met, key=lambda one: (one.more_accurate >= 1, one.share)) for engine, met in meetings.items() if met
    }
    return [best[engine].row(engine) for engine in sorted(best)] or [TargetRow(_PEER, _PEER_WANTED, "-", None)]


_OP_TARGETS = {
    "taps_onnxruntime": "LSTS op: times faster than the taps graph in ONNX Runtime",
    "fastest_other": "LSTS op: times faster than the fastest other form on any engine",
    "floor": "LSTS op: times the processor's own floor",
}


def _op(results: Sequence[OpResult]) -> list[TargetRow]:
    """Each of the op's targets at the size that comes least close to it; the other sizes stand beside."""
    sizes = {name: size for result in results for name, size in result.data.sizes.items()}
    found = []
    for name, what in _OP_TARGETS.items():
        told = {size: data.targets[name] for size, data in sizes.items() if name in data.targets}
        bound = "at most" if name == "floor" else "at least"
        if not told:
            found.append(TargetRow(what, bound, "-", None))
            continue
        shares = [
            target.wanted / target.got if name == "floor" else target.got / target.wanted for target in told.values()
        ]
        wanted = f"{bound} {next(iter(told.values())).wanted:g} x"
        text = ", ".join(f"{target.got:.1f} x at {size}'s size" for size, target in told.items())
        found.append(TargetRow(what, wanted, text, min(shares)))
    return found


def _by_class(mine: EntryAccuracy, theirs: EntryAccuracy) -> str:
    """AP50 of the classes that ours and the peers' share, where it was measured."""
    told = [
        f"{name} {value:.2f} against {theirs.ap50_shared[name]:.2f}"
        for name, value in mine.ap50_shared.items()
        if value is not None and theirs.ap50_shared.get(name) is not None
    ]
    return "".join(f"; {text}" for text in told)


def _is_gated(row: CompareRow) -> bool:
    """LSTS in a precision that ``export --precision`` can choose: its gate sees no engine's bf16."""
    precision = row.entry.precision
    gated = row.entry.method == "lsts" and "int8" in precision.graphs and precision.engine == "fp32"
    return gated and None not in (row.model.ratio_same_engine, row.model.ratio_fastest_fp32)
