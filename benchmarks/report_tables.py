"""The tables of a report, each from one result; the README's table is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsts_edge.benchmarks.accuracy.result import AccuracyResult
from lsts_edge.benchmarks.compare_result import CompareResult
from lsts_edge.benchmarks.elsewhere_result import ElsewhereResult
from lsts_edge.benchmarks.envelope import Result
from lsts_edge.benchmarks.frame_times import AllTimes, KindTimes, StageShare
from lsts_edge.benchmarks.latency_result import LatencyResult, SubgraphTimes
from lsts_edge.benchmarks.op_result import CudaOpResult, OpResult
from lsts_edge.benchmarks.read_ahead import ReadAheadTimes
from lsts_edge.benchmarks.sweep_result import SweepResult
from lsts_edge.tables import number

__all__ = [
    "accuracy_table",
    "cuda_op_table",
    "elsewhere_table",
    "facts",
    "latency_tables",
    "op_table",
    "summary_sentence",
    "sweep_table",
]

Table = tuple[list[str], list[list[str]]]
_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def latency_tables(result: LatencyResult) -> tuple[Table, Table, Table, Table]:
    """Times by kind of frame, stages, subgraphs, and everything else."""
    data, times = result.data, result.data.times
    found: list[tuple[str, KindTimes | AllTimes]] = [*times.by_kind.items(), ("all", times.all)]
    kinds = [
        [f"{kind}, {part}", str(summary.n), *(number(getattr(summary, f"{name}_ms")) for name in _PERCENTILES)]
        for kind, of_kind in found
        for part, summary in (("model", of_kind.model), ("end to end", of_kind.end_to_end))
    ]
    apart: Mapping[str, KindTimes | SubgraphTimes] = data.subgraphs or times.by_kind
    return (
        (["ms", "n", *_PERCENTILES], kinds),
        _parts("stage", {kind: of_kind.stages for kind, of_kind in times.by_kind.items()}),
        _parts("subgraph", {kind: of_kind.graphs for kind, of_kind in apart.items()}),
        (["what", "value"], _others(result)),
    )


def sweep_table(result: SweepResult) -> Table:
    """One row per keyframe interval."""
    rows = result.data.rows
    accurate = any(row.accuracy for row in rows)
    header = ["keyframe interval", "mean ms", "p50 ms", "p99 ms", "fps", "x shortest interval", "energy mJ a frame"]
    cells = []
    for row in rows:
        model, accuracy = row.model, row.accuracy
        line = [str(row.keyframe_interval)]
        line += [number(value) for value in (model.mean_ms, model.p50_ms, model.p99_ms, model.fps)]
        line += [f"{row.ratio_to_shortest.median:.2f}", number(row.energy_mj_per_frame)]
        if accurate:
            line.append(f"{accuracy.ap50_class_agnostic:.3f}" if accuracy else "-")
            line.append(number(accuracy.ap50_all_classes if accuracy else None))
        cells.append(line)
    return header + (["AP50 class-agnostic", "AP50 classes"] if accurate else []), cells


def elsewhere_table(result: ElsewhereResult) -> Table:
    """A row for each model and set of pictures."""
    classes = list(dict.fromkeys(name for row in result.data.rows for name in row.ap50_per_class))
    lines = []
    for row in result.data.rows:
        one = row.ap50_class_agnostic
        beside = [f"{name}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" for name, gap in row.difference.items()]
        lines.append(
            [
                row.annotations,
                row.model,
                f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]",
                f"{row.ap50.value:.3f}",
                *(number(row.ap50_per_class.get(name)) for name in classes),
                "; ".join(beside) or "-",
            ]
        )
    return ["pictures", "model", "AP50, one class [95 %]", "AP50", *classes, "more than, one class"], lines


def accuracy_table(result: AccuracyResult) -> Table:
    """One row per schedule of ``lsts-edge evaluate``: AP50 with its interval, AP, and AP50 of each class."""
    rows = result.data.rows
    classes = list(dict.fromkeys(name for row in rows for name in row.ap50_per_class))
    lines = []
    for row in rows:
        low, high = row.ap50_interval
        per_class = (row.ap50_per_class.get(name) for name in classes)
        lines.append(
            [
                row.label,
                f"{row.ap50:.3f}",
                f"{low:.3f}..{high:.3f}",
                f"{row.ap:.3f}",
                *("-" if value is None else f"{value:.3f}" for value in per_class),
            ]
        )
    return ["", "AP50", "95 %", "AP", *classes], lines


def op_table(result: OpResult, size: str) -> Table:
    """Forms and engines of the op at one size, beside the floor."""
    floor = result.data.sizes[size].floor.floor_ms
    rows = [
        [
            f"{row.form}, {row.engine}",
            number(row.p50_ms),
            number(row.times_the_op.median),
            number(row.p50_ms / floor) if floor else "-",
            number(None if row.scratch_bytes is None else row.scratch_bytes / 2**20),
            f"{row.max_error:.1e}",
        ]
        for row in result.data.rows
        if row.size == size
    ]
    rows.append(["floor", number(floor), "-", "1", "-", "-"])
    return ["form, engine", "p50 ms", "x the op", "x the floor", "scratch MiB", "max error"], rows


def cuda_op_table(result: CudaOpResult) -> Table:
    """The op on a CUDA device at each size and type, beside a copy of its bytes and torch's forms."""
    rows = result.data.rows
    forms = list(dict.fromkeys(form for row in rows for form in row.times_the_op))
    lines = [
        [
            f"{row.size}, N {row.n}, {row.dtype}",
            number(row.time_us["custom"]),
            number(row.times_the_copy),
            *(number(row.times_the_op.get(form)) for form in forms),
        ]
        for row in rows
    ]
    return ["size", "us a launch", "x a copy", *(f"{form}, x the op" for form in forms)], lines


def facts(results: Sequence[Result]) -> list[Table]:
    """The device, then one line per run."""
    device = results[0].origin.device
    told = {
        "device": device.name,
        "vector extensions": ", ".join(device.cpu_flags) or "none known",
        "caches": ", ".join(f"{name} {size}" for name, size in device.cpu_cache.items()) or "not told",
        "system": f"{device.system}, {device.distribution}, Python {device.python}",
        "packages": "; ".join(sorted({_versions(result) for result in results})),
        "key": device.key,
    }
    runs = []
    for result in results:
        conditions, commit = result.conditions, result.origin.commit
        busy = conditions.busy_by_others if conditions else None
        throttled = conditions.throttle_events if conditions else None
        changed = f" + {commit.changed_files} changed files" if commit and commit.changed_files else ""
        runs.append(
            [
                f"{result.kind}, {result.origin.created_utc}",
                result.bundle.digest[:12] if result.bundle else "-",
                f"{commit.id[:10]}{changed}" if commit else "-",
                "-" if busy is None else f"{100 * busy:.1f} %",
                (conditions.governor if conditions else None) or "not told",
                "not told" if throttled is None else str(throttled),
            ]
        )
    header = ["run", "bundle", "commit", "others' load", "governor", "throttled"]
    return [(["what", "value"], [[name, value] for name, value in told.items()]), (header, runs)]


def _versions(result: Result) -> str:
    return ", ".join(f"{name} {version}" for name, version in result.origin.versions.items())


def summary_sentence(result: Result) -> str | None:
    """The one line that a reader takes away from a result; None for kinds that have none."""
    if isinstance(result, LatencyResult):
        times = result.data.times
        kinds = times.by_kind
        key = kinds.get("keyframe") or next(iter(kinds.values()))
        parts = [f"a keyframe takes {number(key.model.p50_ms)} ms"]
        if "propagated" in kinds:
            parts.append(f"a propagated frame {number(kinds['propagated'].model.p50_ms)} ms (p50, model only)")
        fps = times.all.end_to_end.fps
        return f"{result.bundle.name}, {result.label}: {', '.join(parts)}; {fps:.1f} frames per second end to end."
    if isinstance(result, CompareResult):
        return _compare_sentence(result)
    return None


def _compare_sentence(result: CompareResult) -> str | None:
    ours = [
        (row, row.model.ratio_same_engine)
        for row in result.data.rows
        if row.entry.method == "lsts" and row.model.ratio_same_engine
    ]
    if not ours:
        return None
    best, ratio = max(ours, key=lambda pair: pair[0].model.all.fps)
    return (
        f"{result.bundle.name}: {best.entry.label} runs at {best.model.all.fps:.1f} frames per second, "
        f"{ratio.median:.2f} x the same heavy network on every frame with the same engine "
        f"(keyframe interval {result.settings.keyframe_interval})."
    )


def _parts(what: str, by_kind: Mapping[str, Mapping[str, StageShare]]) -> Table:
    rows = [
        [f"{kind}: {name}", number(part.p50_ms), number(part.p95_ms), f"{100 * part.share:.1f} %"]
        for kind, parts in by_kind.items()
        for name, part in parts.items()
    ]
    return [what, "p50 ms", "p95 ms", "of end to end"], rows


def _read_ahead(found: ReadAheadTimes | None) -> list[list[str]]:
    if found is None:
        return []
    rates = f"{number(found.beside.fps)}, and {number(found.in_turn.fps)} in turn: {found.speedup.median:.2f} x"
    return [["frames per second, end to end, decoding beside detection", rates]]


def _others(result: LatencyResult) -> list[list[str]]:
    data, times, per_frame = result.data, result.data.times, result.data.per_frame
    deadlines, energy = times.deadlines, result.data.per_frame.energy_mj
    late = f"{deadlines.late} of {deadlines.frames} late, {deadlines.over_budget} over budget"
    rows = [
        ["frames per second, model only", number(times.all.model.fps)],
        ["frames per second, end to end", number(times.all.end_to_end.fps)],
        ["runtime outside sessions (no decode, draw, encode), p50 ms", number(times.all.overhead.p50_ms)],
        *_read_ahead(data.read_ahead),
        [f"deadlines at {deadlines.camera_fps:g} fps", late],
        ["jitter, p99 - p50 ms", number(times.jitter.end_to_end.p99_minus_p50_ms)],
        ["processor time per frame, ms", number(per_frame.cpu_time_ms)],
        ["energy per frame, mJ", number(energy) if energy is not None else f"not told: {per_frame.energy_reason}"],
        ["peak resident memory, MiB", number(result.conditions.peak_rss_mib)],
    ]
    for index, memory in enumerate(zip(*result.conditions.gpu_memory_used_mib, strict=True)):
        told = " -> ".join("not told" if mib is None else number(mib) for mib in memory)
        rows.append([f"memory in use on GPU {index} before and after, MiB", told])
    if data.bytes is not None:
        for way, moved in (("into", data.bytes.into_engine), ("out of", data.bytes.out_of_engine)):
            told = ", ".join(f"{kind} {number(count / 1024)}" for kind, count in moved.items())
            rows.append([f"KiB {way} the engine's tensors, a frame ({data.bytes.note})", told])
    if data.paced is not None:
        paced = data.paced
        told = f"{paced.late} of {paced.frames} late, age p99 {number(paced.result_age.p99_ms)} ms"
        rows.append([f"fed at {paced.pace_fps:g} fps", told])
    if data.cold_start is not None:
        rows += [
            [f"cold start, {name.replace('_', ' ')}, p50 ms", number(found.p50_ms)]
            for name, found in data.cold_start.phases.items()
        ]
        resident = number(data.cold_start.memory.get("rss_mib"))
        rows.append(["resident memory after a cold start, MiB", resident])
    return rows
