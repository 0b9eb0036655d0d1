"""The tables of a report, each from one result; the README's table is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsts_edge.benchmarks.machine import device_name
from lsts_edge.benchmarks.results import precision_label
from lsts_edge.benchmarks.tables import number

__all__ = ["accuracy_table", "facts", "latency_label", "latency_tables", "op_table", "summary_sentence", "sweep_table"]

Table = tuple[list[str], list[list[str]]]
_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def latency_tables(result: Mapping[str, Any]) -> tuple[Table, Table, Table, Table]:
    """Times by kind of frame, stages, subgraphs, and everything else, of a result of kind ``latency``."""
    data = result["data"]
    kinds = [
        [f"{kind}, {part.replace('_', ' ')}", str(found[part]["n"])]
        + [number(found[part][f"{name}_ms"]) for name in _PERCENTILES]
        for kind, found in [*data["by_kind"].items(), ("all", data["all"])]
        for part in ("model", "end_to_end")
    ]
    apart = data["subgraphs"] or data["by_kind"]
    return (
        (["ms", "n", *_PERCENTILES], kinds),
        _parts("stage", {kind: found["stages"] for kind, found in data["by_kind"].items()}),
        _parts("subgraph", {kind: found["graphs"] for kind, found in apart.items()}),
        (["what", "value"], _others(result)),
    )


def sweep_table(result: Mapping[str, Any]) -> Table:
    """One row per keyframe interval."""
    rows = result["data"]["rows"]
    accurate = any("accuracy" in row for row in rows)
    header = ["keyframe interval", "mean ms", "p50 ms", "p99 ms", "fps", "x shortest interval", "energy mJ a frame"]
    cells = []
    for row in rows:
        model = row["model"]
        line = [str(row["keyframe_interval"])]
        line += [number(model[name]) for name in ("mean_ms", "p50_ms", "p99_ms", "fps")]
        line += [f"{row['ratio_to_shortest']['median']:.2f}", number(row["energy_mj_per_frame"])]
        if accurate:
            line.append(f"{row['accuracy']['ap50_class_agnostic']:.3f}")
            line.append(number(row["accuracy"]["ap50_all_classes"]))
        cells.append(line)
    return header + (["AP50 class-agnostic", "AP50 classes"] if accurate else []), cells


def accuracy_table(result: Mapping[str, Any]) -> Table:
    """One row per schedule of ``lsts-edge evaluate``: AP50 with its interval, AP, and AP50 of each class."""
    rows = result["data"]["rows"]
    classes = list(dict.fromkeys(name for row in rows for name in row["ap50_per_class"]))
    lines = []
    for row in rows:
        interval = row["keyframe_interval"]
        low, high = row["ap50_interval"]
        per_class = (row["ap50_per_class"].get(name) for name in classes)
        lines.append(
            [
                f"{row['model']}, {row['engine']}, " + (f"interval {interval}" if interval else "per frame"),
                f"{row['ap50']:.3f}",
                f"{low:.3f}..{high:.3f}",
                f"{row['ap']:.3f}",
                *("-" if value is None else f"{value:.3f}" for value in per_class),
            ]
        )
    return ["", "AP50", "95 %", "AP", *classes], lines


def op_table(result: Mapping[str, Any], size: str) -> Table:
    """Forms and engines of the op at one size, beside the floor."""
    floor = result["data"]["sizes"][size]["floor"]["floor_ms"]
    rows = [
        [
            f"{row['form']}, {row['engine']}",
            number(row["p50_ms"]),
            number(row["times_the_op"]["median"]),
            number(row["p50_ms"] / floor) if floor else "-",
            number(None if row["scratch_bytes"] is None else row["scratch_bytes"] / 2**20),
            f"{row['max_error']:.1e}",
        ]
        for row in result["data"]["rows"]
        if row["size"] == size
    ]
    rows.append(["floor", number(floor), "-", "1", "-", "-"])
    return ["form, engine", "p50 ms", "x the op", "x the floor", "scratch MiB", "max error"], rows


def facts(results: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The device, then one line per run."""
    device = results[0]["device"]
    told = {
        "device": device_name(device),
        "vector extensions": ", ".join(device["cpu_flags"]) or "none known",
        "caches": ", ".join(f"{name} {size}" for name, size in device["cpu_cache"].items()) or "not told",
        "system": f"{device['system']}, {device['distribution']}, Python {device['python']}",
        "packages": "; ".join(sorted({_versions(result) for result in results})),
        "key": results[0]["device_key"],
    }
    runs = []
    for result in results:
        conditions, commit = result["conditions"] or {}, result["commit"]
        busy = conditions.get("busy_by_others")
        changed = f" + {commit['changed_files']} changed files" if commit and commit["changed_files"] else ""
        runs.append(
            [
                f"{result['kind']}, {result['created_utc']}",
                (result["bundle"] or {}).get("digest", "-")[:12],
                f"{commit['id'][:10]}{changed}" if commit else "-",
                "-" if busy is None else f"{100 * busy:.1f} %",
                str(conditions.get("governor") or "not told"),
                "not told" if conditions.get("throttle_events") is None else str(conditions["throttle_events"]),
            ]
        )
    header = ["run", "bundle", "commit", "others' load", "governor", "throttled"]
    return [(["what", "value"], [[name, value] for name, value in told.items()]), (header, runs)]


def _versions(result: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in result["versions"].items())


def summary_sentence(result: Mapping[str, Any]) -> str | None:
    """The one line that a reader takes away from a result; None for kinds that have none."""
    if result["kind"] == "latency":
        data, bundle = result["data"], result["bundle"]
        kinds = data["by_kind"]
        key = kinds.get("keyframe") or next(iter(kinds.values()))
        parts = [f"a keyframe takes {number(key['model']['p50_ms'])} ms"]
        if "propagated" in kinds:
            parts.append(f"a propagated frame {number(kinds['propagated']['model']['p50_ms'])} ms (p50, model only)")
        fps = data["all"]["end_to_end"]["fps"]
        return f"{bundle['name']}, {latency_label(result)}: {', '.join(parts)}; {fps:.1f} frames per second end to end."
    if result["kind"] == "compare":
        return _compare_sentence(result)
    return None


def latency_label(result: Mapping[str, Any]) -> str:
    """Engine, precision, and what was out of the ordinary."""
    settings, bundle = result["settings"], result["bundle"]
    precision = precision_label(bundle.get("precisions", {}).values(), settings["precision"])
    label = f"{settings['backend']} {precision}"
    if settings.get("pace_fps"):
        label += f", fed at {settings['pace_fps']:g} fps"
    return label + (", video written" if settings.get("write_video") else "")


def _compare_sentence(result: Mapping[str, Any]) -> str | None:
    ours = [row for row in result["data"]["rows"] if row["method"] == "lsts" and row["model"].get("ratio_same_engine")]
    if not ours:
        return None
    best = max(ours, key=lambda row: float(row["model"]["all"]["fps"]))
    ratio = best["model"]["ratio_same_engine"]
    return (
        f"{result['bundle']['name']}: {best['name']} runs at {best['model']['all']['fps']:.1f} frames per second, "
        f"{ratio['median']:.2f} x the same heavy network on every frame with the same engine "
        f"(keyframe interval {result['settings']['keyframe_interval']})."
    )


def _parts(what: str, by_kind: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    rows = [
        [f"{kind}: {name}", number(part["p50_ms"]), number(part["p95_ms"]), f"{100 * part['share']:.1f} %"]
        for kind, parts in by_kind.items()
        for name, part in parts.items()
    ]
    return [what, "p50 ms", "p95 ms", "of end to end"], rows


def _others(result: Mapping[str, Any]) -> list[list[str]]:
    data, conditions = result["data"], result["conditions"]
    deadlines, jitter, per_frame = data["deadlines"], data["jitter"]["end_to_end"], data["per_frame"]
    late = f"{deadlines['late']} of {deadlines['frames']} late, {deadlines['over_budget']} over budget"
    energy = per_frame["energy_mj"]
    rows = [
        ["frames per second, model only", number(data["all"]["model"]["fps"])],
        ["frames per second, end to end", number(data["all"]["end_to_end"]["fps"])],
        ["runtime outside sessions (no decode, draw, encode), p50 ms", number(data["all"]["overhead"]["p50_ms"])],
        [f"deadlines at {deadlines['camera_fps']:g} fps", late],
        ["jitter, p99 - p50 ms", number(jitter["p99_minus_p50_ms"])],
        ["processor time per frame, ms", number(per_frame["cpu_time_ms"])],
        ["energy per frame, mJ", number(energy) if energy is not None else f"not told: {per_frame['energy_reason']}"],
        ["peak resident memory, MiB", number(conditions["peak_rss_mib"])],
    ]
    for index, memory in enumerate(zip(*conditions.get("gpu_memory_used_mib", ((), ())), strict=True)):
        told = " -> ".join("not told" if mib is None else number(mib) for mib in memory)
        rows.append([f"memory in use on GPU {index} before and after, MiB", told])
    if data.get("paced"):
        paced = data["paced"]
        told = f"{paced['late']} of {paced['frames']} late, age p99 {number(paced['result_age']['p99_ms'])} ms"
        rows.append([f"fed at {paced['pace_fps']:g} fps", told])
    cold = data["cold_start"]
    if cold:
        rows += [
            [f"cold start, {name.replace('_', ' ')}, p50 ms", number(found["p50_ms"])]
            for name, found in cold["phases"].items()
        ]
        rows.append(["resident memory after a cold start, MiB", number(cold["memory"].get("rss_mib"))])
    return rows
