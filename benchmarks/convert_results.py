"""Write the result files of schema 1 as schema 2, once: the same numbers under typed fields, labels made of facts.

    python -m lsts_edge.benchmarks.convert_results

What schema 1 counted from tensor shapes (``bytes``) is left out: it was not measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lsts_edge.benchmarks.compare_result import EntryFacts
from lsts_edge.benchmarks.envelope import Precision, Result
from lsts_edge.benchmarks.results import KINDS, read_result, write_result
from lsts_edge.bundle.strict_json import decode

__all__ = ["main"]

FOLDER = Path(__file__).resolve().parent / "results"
NCNN = "fp32 (ncnn's own choice)"


def main() -> None:
    """Convert every committed file, and check that it reads back."""
    paths = sorted(FOLDER.glob("*.json"))
    olds = {path: json.loads(path.read_text()) for path in paths}
    precisions = {
        old["bundle"]["digest"]: list(old["bundle"]["precisions"].values()) for old in olds.values() if old["bundle"]
    }
    for path, old in olds.items():
        if old["schema"] == 1:
            new = {
                "latency": latency,
                "compare": compare,
                "sweep": sweep,
                "accuracy": accuracy,
                "op": op,
                "engines": engines,
            }
            result = common(old, *new[old["kind"]](old, precisions))
            write_result(path, result)
            assert read_result(path) == result
            print(path.name)


def common(old: dict[str, Any], settings: dict[str, Any], data: dict[str, Any]) -> Result:
    """The envelope."""
    result = decode(
        KINDS[old["kind"]],
        {
            "schema": 2,
            "kind": old["kind"],
            "origin": {name: old[name] for name in ("created_utc", "commit", "device", "versions")},
            "bundle": old["bundle"],
            "conditions": old["conditions"],
            "settings": settings,
            "data": data,
        },
        "converted",
    )
    assert result.origin.device.key == old["device_key"]
    return result


def clip(label: str, frame_px: Any, decodes: bool | None = None) -> dict[str, Any]:
    """Every procedural clip so far had 60 frames of 640x360."""
    if label.startswith("procedural") and not label.endswith(".mp4"):
        return {"name": "procedural", "procedural_frames": 60, "decodes": False, "frame_px": frame_px or [360, 640]}
    return {"name": label, "procedural_frames": None, "decodes": decodes is not False, "frame_px": frame_px}


def latency(old: dict[str, Any], _: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and data."""
    was, data = old["settings"], old["data"]
    names = ("frames", "warmup_frames", "split_frames", "cold_starts", "camera_fps", "pace_fps", "draw")
    settings = {name: was[name] for name in (*names, "write_video", "clip_size", "score_threshold")}
    settings["keyframe_interval"] = was["keyframe_interval_used"]
    settings["clip"] = clip(was["clip"], was["frame_px"], was["clip_decodes"])
    settings["engine"] = {
        "backend": was["backend"],
        "version": was["backend_version"],
        "provider": was["provider_used"],
        "threads": was["threads"],
        "precision": was["precision"],
        "lsts_form": was["lsts_form_used"],
        "lsts_form_asked": was["lsts_form"],
        "joined": was["joined_used"],
    }
    new = {name: data[name] for name in ("paced", "subgraphs", "cold_start", "per_frame", "timeline")}
    new["times"] = {name: data[name] for name in ("by_kind", "all", "jitter", "deadlines")}
    return settings, {**new, "bytes": None}


def precision(row: dict[str, Any], engine: str) -> dict[str, Any]:
    """Of a row's label: what the engine computes in stood in its name."""
    label = row["precision"]
    if label == NCNN:
        return {"graphs": [], "engine": "fp32", "note": "ncnn's own choice"}
    graphs = [part for part in label.split("+") if part not in ("fp32", engine)]
    return {"graphs": graphs, "engine": engine, "note": ""}


def facts(row: dict[str, Any], fallback_px: list[int]) -> dict[str, Any]:
    """Who took part."""
    engine = "bf16" if "bf16" in row["name"] else "fp32"
    found = {name: row.get(name) for name in ("method", "engine", "provider", "form", "joined", "bundle")}
    return {**found, "precision": precision(row, engine), "input_px": row.get("input_px", fallback_px)}


def compare(old: dict[str, Any], _: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and data; every label is made anew."""
    was, data = old["settings"], old["data"]
    settings = {"frames_per_segment": was["keyframe_interval"], **was, "clip": clip(was["clip"], None)}
    entries = {row["name"]: facts(row, old["bundle"]["input_px"]) for row in data["rows"]}
    labels = {name: decode(EntryFacts, entry).label for name, entry in entries.items()}
    assert len(set(labels.values())) == len(labels)

    def times(part: dict[str, Any]) -> dict[str, Any]:
        new = dict(part)
        for ratio in ("ratio_same_engine", "ratio_fastest_fp32"):
            if ratio in new:
                new[ratio] = {**new[ratio], "against": labels[new[ratio]["against"]]}
        return new

    rows = [
        {
            "entry": entries[row["name"]],
            "boxes": row["boxes"],
            "model": times(row["model"]),
            "frame_to_boxes": times(row["frame_to_boxes"]),
            "graphs": row["graphs"],
            "bound": row["bound"],
            "accuracy": row.get("accuracy"),
        }
        for row in data["rows"]
    ]
    fastest = data["fastest_per_frame_fp32"]
    differences = {
        labels[name]: {labels[other]: found for other, found in others.items()}
        for name, others in data.get("accuracy_differences", {}).items()
    }
    new = {"rows": rows, "left_out": data["left_out"], "accuracy_differences": differences}
    return settings, {**new, "fastest_per_frame_fp32": fastest and labels[fastest]}


def sweep(old: dict[str, Any], _: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and data."""
    was, shortest = old["settings"], min(old["settings"]["intervals"])
    settings = {name: was[name] for name in ("intervals", "rounds", "frames_per_round", "seed", "annotations")}
    settings["clip"] = clip(was["clip"], None)
    engine = {name: was[name] for name in ("backend", "provider", "threads", "precision")}
    form = (old["bundle"]["lsts"] or {}).get("default_form")
    settings["engine"] = {**engine, "version": None, "lsts_form": form, "lsts_form_asked": None, "joined": None}
    rows = []
    for row in old["data"]["rows"]:
        ratio = dict(row["ratio_to_shortest"])
        assert ratio.pop("against") == shortest
        rows.append({**row, "ratio_to_shortest": ratio})
    return settings, {"rows": rows}


def accuracy(old: dict[str, Any], precisions: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and data; the precision is that of the bundle, which other files ran."""
    rows = []
    for row in old["data"]["rows"]:
        new = dict(row)
        engine, _, provider = new.pop("engine").partition("/")
        digest = new["bundle_digest"].removeprefix("sha256:")
        found = Precision.of(precisions[digest], "fp32")
        new |= {"engine": engine, "provider": provider}
        rows.append({**new, "precision": {"graphs": list(found.graphs), "engine": "fp32", "note": ""}})
    return old["settings"], {"rows": rows}


def op(old: dict[str, Any], _: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and data."""
    was = old["settings"]["library"]
    names = ("library_version", "table_version", "ort_api_version", "cpu_kernels", "sha256")
    library = {name: was[name] for name in (*names, "cuda_usable", "cuda_reason")}
    library |= {"op_version": was["ops"][0]["since"], "cuda_archs": was["cuda"]["archs"]}
    sizes = {}
    for name, size in old["data"]["sizes"].items():
        targets = {
            key: {**target, "got": target["got"]["median"], "ratio": target["got"]}
            if isinstance(target["got"], dict)
            else target
            for key, target in size["targets"].items()
        }
        sizes[name] = {**size, "targets": targets}
    return {**old["settings"], "library": library}, {"rows": old["data"]["rows"], "sizes": sizes}


def engines(old: dict[str, Any], _: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """As they were."""
    return old["settings"], old["data"]


if __name__ == "__main__":
    main()
