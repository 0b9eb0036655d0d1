"""What we promise about speed, each held against stored results: wanted, measured, met or by how much not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lsts_edge.benchmarks.report_tables import latency_label
from lsts_edge.benchmarks.tables import markdown_table, number
from lsts_edge.errors import BenchmarkResult

__all__ = ["TARGETS_BEGIN", "TARGETS_END", "TargetRow", "check_targets", "target_table", "targets_block"]

TARGETS_BEGIN = "<!-- targets:begin -->"
TARGETS_END = "<!-- targets:end -->"

Result = Mapping[str, Any]
Row = Mapping[str, Any]

_OUTSIDE_LIGHT_SHARE = 0.10
_SCHEDULE_RATIO = 2.5
_SHARE_OF_BOUND = 0.9
_BEST_RATIO = 8.0
_OVERHEAD_MS = 1.0
_COLD_START_MS = 1500.0
_RESIDENT_MIB = 300e6 / 2**20


@dataclass(frozen=True)
class TargetRow:
    """One promise. ``share`` is how much of it was reached, 1 or more when met; None: no result tells."""

    what: str
    wanted: str
    measured: str
    share: float | None

    @property
    def verdict(self) -> str:
        """``met``, how much of it was reached, or ``not measured``."""
        if self.share is None:
            return "not measured"
        return "met" if self.share >= 1 else f"missed: {100 * self.share:.0f} % of it"


def check_targets(results: Sequence[Result]) -> list[TargetRow]:
    """Every target of ``docs/benchmarks.md`` against results of one device; what no result tells is said to be so.

    Args:
        results: of kinds ``compare``, ``latency`` and ``op``; others are ignored.
    """
    compares = [result for result in results if result["kind"] == "compare"]
    latencies = [
        result for result in results if result["kind"] == "latency" and result["bundle"]["name"] == "lsts-lite"
    ]
    return [
        *_paper_size(compares),
        *_best_precision(compares),
        *_end_to_end(latencies, compares),
        *_runtime(latencies),
        *_peer(compares),
        *_op([result for result in results if result["kind"] == "op"]),
    ]


def target_table(rows: Iterable[TargetRow]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and lines of the table."""
    return ("target", "wanted", "measured", "verdict"), [[r.what, r.wanted, r.measured, r.verdict] for r in rows]


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


def _rows(compares: Sequence[Result], bundle: str, keep: Callable[[Row], bool]) -> list[Row]:
    """Entries of every comparison of a bundle, the fastest first."""
    found = [row for result in compares if result["bundle"]["name"] == bundle for row in result["data"]["rows"]]
    return sorted(filter(keep, found), key=lambda row: float(row["model"]["all"]["mean_ms"]))


def _paper_size(compares: Sequence[Result]) -> list[TargetRow]:
    what = "lsts-r101, ONNX Runtime fp32: "

    def split(row: Row) -> bool:
        return (
            row["method"] == "lsts"
            and (row["engine"], row["precision"]) == ("onnxruntime", "fp32")
            and row["bound"] is not None
        )

    row = next(iter(_rows(compares, "lsts-r101", split)), None)
    outside = what + "share of a propagated frame outside the light graph"
    ratio = what + "schedule, interval 10, against per-frame R-FCN"
    bound = what + "the same against 10 heavy / (heavy + 9 light) of the run"
    wanted = (
        f"at most {_OUTSIDE_LIGHT_SHARE:.0%}",
        f"at least {_SCHEDULE_RATIO} x",
        f"at least {_SHARE_OF_BOUND} of it",
    )
    if row is None:
        return [TargetRow(name, text, "-", None) for name, text in zip((outside, ratio, bound), wanted, strict=True)]
    share, times = row["bound"]["outside_light_share"], row["model"]["ratio_same_engine"]["median"]
    part = times / row["bound"]["schedule"]
    return [
        TargetRow(outside, wanted[0], f"{share:.1%} ({row['name']})", _OUTSIDE_LIGHT_SHARE / share),
        TargetRow(ratio, wanted[1], f"{times:.2f} x", times / _SCHEDULE_RATIO),
        TargetRow(bound, wanted[2], f"{part:.2f} of {row['bound']['schedule']:.2f} x", part / _SHARE_OF_BOUND),
    ]


def _best_precision(compares: Sequence[Result]) -> list[TargetRow]:
    """Schedule x precision; the same-precision ratio stands beside it."""
    found = []
    for name in ("lsts-lite", "lsts-r101"):
        what = f"{name}: best precision and schedule against fp32 per frame on the fastest engine"
        rows = _rows(compares, name, _is_gated)
        if not rows:
            found.append(TargetRow(what, f"at least {_BEST_RATIO:.0f} x", "-", None))
            continue
        model = rows[0]["model"]
        times, same = model["ratio_fastest_fp32"]["median"], model["ratio_same_engine"]["median"]
        text = f"{times:.2f} x = {same:.2f} x schedule, {times / same:.2f} x precision and engine ({rows[0]['name']})"
        found.append(TargetRow(what, f"at least {_BEST_RATIO:.0f} x", text, times / _BEST_RATIO))
    return found


def _end_to_end(latencies: Sequence[Result], compares: Sequence[Result]) -> list[TargetRow]:
    found = []
    for size, written, least in (((360, 640), False, 60), ((720, 1280), False, 30), ((360, 640), True, 30)):
        what = f"lsts-lite end to end, {size[1]}x{size[0]}" + (", H.264 written" if written else ", no video written")
        fits = [
            result
            for result in latencies
            if tuple(result["settings"].get("frame_px") or ()) == size
            and result["settings"]["write_video"] is written
            and result["settings"]["clip_decodes"]
            and result["settings"]["pace_fps"] is None
        ]
        rates = {_rate(result): result for result in fits}
        if not rates:
            found.append(TargetRow(what, f"at least {least} fps", "-", None))
            continue
        fps = max(rates)
        text = f"{number(fps)} fps ({latency_label(rates[fps])}{_accuracy(rates[fps], compares)})"
        found.append(TargetRow(what, f"at least {least} fps", text, fps / least))
    return found


def _rate(result: Result) -> float:
    return float(result["data"]["all"]["end_to_end"]["fps"])


def _accuracy(result: Result, compares: Sequence[Result]) -> str:
    """AP50 of the same bundle on the same engine at the same interval, where a comparison measured it."""
    digest, engine = result["bundle"]["digest"], result["settings"]["backend"]
    interval = result["settings"]["keyframe_interval_used"]
    rows = _rows(
        compares,
        result["bundle"]["name"],
        lambda row: (
            row["method"] == "lsts"
            and (row.get("bundle"), row["engine"]) == (digest, engine)
            and row.get("accuracy", {}).get("keyframe_interval") == interval
        ),
    )
    return f", AP50 {rows[0]['accuracy'][_AP]:.3f}" if rows else ""


def _runtime(latencies: Sequence[Result]) -> list[TargetRow]:
    at_size = [r for r in latencies if tuple(r["settings"].get("frame_px") or ()) == (360, 640)]
    overheads = [r["data"]["all"]["overhead"]["p50_ms"] for r in at_size if not r["settings"]["write_video"]]
    colds = [(r["data"]["cold_start"], r) for r in latencies if r["data"]["cold_start"]]
    overhead = min(overheads, default=None)
    rows = [
        TargetRow(
            "lsts-lite: runtime outside sessions, 640x360",
            f"at most {_OVERHEAD_MS:.0f} ms a frame",
            f"{number(overhead)} ms" if overhead is not None else "-",
            None if overhead is None else _OVERHEAD_MS / overhead,
        )
    ]
    start, memory = "lsts-lite: import, load, first boxes", "lsts-lite: resident memory"
    if not colds:
        wanted = ((start, "at most 1.5 s"), (memory, "at most 300 MB"))
        return [*rows, *(TargetRow(what, text, "-", None) for what, text in wanted)]
    cold, result = min(colds, key=lambda pair: pair[0]["phases"]["total"]["p50_ms"])
    took, resident = cold["phases"]["total"]["p50_ms"], cold["memory"]["rss_mib"]
    rows.append(
        TargetRow(start, "at most 1.5 s", f"{took / 1e3:.2f} s ({latency_label(result)})", _COLD_START_MS / took)
    )
    megabytes = resident * 2**20 / 1e6
    rows.append(TargetRow(memory, "at most 300 MB", f"{megabytes:.0f} MB", _RESIDENT_MIB / resident))
    return rows


_PEER = "lsts-lite against YOLOX-Nano, same input"
_PEER_WANTED = "faster (paired) and more accurate (class-agnostic AP50) at once"


@dataclass(frozen=True)
class _Meeting:
    """An entry of ours and YOLOX-Nano's, on one engine in one run."""

    mine: Row
    theirs: Row

    @property
    def faster(self) -> float:
        """Frame to boxes, by segments: both were paired with the same per-frame entry."""
        mine, theirs = (row["frame_to_boxes"]["ratio_fastest_fp32"]["median"] for row in (self.mine, self.theirs))
        return float(mine / theirs)

    @property
    def more_accurate(self) -> float:
        return float(self.mine["accuracy"][_AP] / self.theirs["accuracy"][_AP])

    @property
    def share(self) -> float:
        return min(self.faster, self.more_accurate)

    def row(self, engine: str) -> TargetRow:
        percent = 100 * (1 / self.faster - 1)
        time = f"{abs(percent):.0f} % {'more' if percent > 0 else 'less'} time"
        accuracy = " against ".join(f"{row['accuracy'][_AP]:.3f}{_by_class(row)}" for row in (self.mine, self.theirs))
        which = f"({self.mine['name']}, interval {self.mine['accuracy']['keyframe_interval']})"
        return TargetRow(f"{_PEER}, {engine}", _PEER_WANTED, f"{time}, {accuracy} {which}", self.share)


def _peer(compares: Sequence[Result]) -> list[TargetRow]:
    """On each engine, at float32 and at bf16 apart: of ours, the fastest that is more accurate, else the closest."""
    meetings: dict[str, list[_Meeting]] = {}
    for result in compares:
        rows = result["data"]["rows"] if result["bundle"]["name"] == "lsts-lite" else ()
        rows = [row for row in rows if "accuracy" in row and "ratio_fastest_fp32" in row["frame_to_boxes"]]
        for theirs in (row for row in rows if row["method"] == "yolox-nano"):
            ours = [row for row in rows if row["method"] == "lsts" and _engine(row) == _engine(theirs)]
            meetings.setdefault(_engine(theirs), []).extend(_Meeting(mine, theirs) for mine in ours)
    best = {
        engine: max(met, key=lambda one: (one.more_accurate >= 1, one.share)) for engine, met in meetings.items() if met
    }
    return [best[engine].row(engine) for engine in sorted(best)] or [TargetRow(_PEER, _PEER_WANTED, "-", None)]


def _engine(row: Row) -> str:
    """The engine and what it computes in: int8 graphs are ours to choose, bf16 is the engine's."""
    return str(row["engine"]) + (" in bf16" if "bf16" in row["precision"].split("+") else "")


_OP_TARGETS = {
    "taps_onnxruntime": "LSTS op: times faster than the taps graph in ONNX Runtime",
    "fastest_other": "LSTS op: times faster than the fastest other form on any engine",
    "floor": "LSTS op: times the processor's own floor",
}


def _op(results: Sequence[Result]) -> list[TargetRow]:
    """Each of the op's targets at the size that comes least close to it; the other sizes stand beside."""
    sizes = {name: size for result in results for name, size in result["data"]["sizes"].items()}
    found = []
    for name, what in _OP_TARGETS.items():
        told = {size: data["targets"][name] for size, data in sizes.items() if name in data["targets"]}
        bound = "at most" if name == "floor" else "at least"
        if not told:
            found.append(TargetRow(what, bound, "-", None))
            continue
        values = {size: _value(target["got"]) for size, target in told.items()}
        shares = [
            told[size]["wanted"] / value if name == "floor" else value / told[size]["wanted"]
            for size, value in values.items()
        ]
        wanted = f"{bound} {next(iter(told.values()))['wanted']:g} x"
        text = ", ".join(f"{value:.1f} x at {size}'s size" for size, value in values.items())
        found.append(TargetRow(what, wanted, text, min(shares)))
    return found


def _value(got: Any) -> float:
    """A paired ratio's median, or a plain number."""
    return float(got["median"] if isinstance(got, Mapping) else got)


def _by_class(row: Row) -> str:
    """AP50 of the classes that ours and the peers' share, where it was measured."""
    shared = row["accuracy"].get("ap50_shared", {})
    told = ", ".join(f"{name} {value:.2f}" for name, value in shared.items() if value is not None)
    return f" ({told})" if told else ""


_AP = "ap50_class_agnostic"


def _is_gated(row: Row) -> bool:
    """LSTS in a precision that ``export --precision`` can choose: its gate sees no engine's bf16."""
    lowered = row["precision"].split("+")
    return row["method"] == "lsts" and "int8" in lowered and "bf16" not in lowered
