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
        results: of kinds ``compare`` and ``latency``; others are ignored.
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
        _peer(compares),
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
        got, fix = "no result that tells about one", "Give results of bench compare and bench latency."
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


def _peer(compares: Sequence[Result]) -> TargetRow:
    """The fastest of ours that is more accurate than YOLOX-Nano on the same engine; else the most accurate."""
    what = "lsts-lite against YOLOX-Nano, same engine and input"
    wanted = "faster and more accurate (class-agnostic AP50) at once"
    peers = {row["engine"]: row for row in _rows(compares, "lsts-lite", _is_yolox)}
    ours = _rows(compares, "lsts-lite", lambda row: row["method"] == "lsts" and "accuracy" in row)
    pairs = [(row, peers[row["engine"]]) for row in ours if row["engine"] in peers]
    if not pairs:
        return TargetRow(what, wanted, "-", None)

    def reached(pair: tuple[Row, Row]) -> float:
        mine, theirs = pair
        faster = theirs["frame_to_boxes"]["all"]["mean_ms"] / mine["frame_to_boxes"]["all"]["mean_ms"]
        return float(min(faster, mine["accuracy"][_AP] / theirs["accuracy"][_AP]))

    mine, theirs = max(pairs, key=reached)
    text = " against ".join(
        f"{number(row['frame_to_boxes']['all']['mean_ms'])} ms, {row['accuracy'][_AP]:.3f}{_by_class(row)}"
        for row in (mine, theirs)
    )
    interval = mine["accuracy"]["keyframe_interval"]
    return TargetRow(what, wanted, f"{text} ({mine['name']}, interval {interval})", reached((mine, theirs)))


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


def _is_yolox(row: Row) -> bool:
    return row["method"] == "yolox-nano" and row["precision"] == "fp32" and "accuracy" in row
