"""Hostile manifests, each with a correct digest of itself, are refused in under 1 s and 64 MB (RELIABILITY row 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from attacks.forged import forge
from attacks.measure import HANG_S, measure

Change = Callable[[dict[str, Any]], Any]


def _set(path: str, value: object) -> Change:
    def change(data: Any) -> None:
        *folders, last = path.split("/")
        for folder in folders:
            data = data[int(folder)] if isinstance(data, list) else data[folder]
        data[last] = value

    return change


def _drop(key: str) -> Change:
    return lambda data: data.pop(key)


def _listed(name: str) -> Change:
    """The manifest lists one more file under that name."""
    digest = hashlib.sha256(b"").hexdigest()
    return lambda data: data["files"].update({name: {"sha256": digest, "bytes": 0}})


def _graph_file(name: str) -> Change:
    """A graph's file has that name, in the list of files too."""

    def change(data: dict[str, Any]) -> None:
        data["graphs"]["heavy"]["forms"]["default"] = name
        data["files"][name] = data["files"].pop("heavy.onnx")

    return change


def _parity(**other: object) -> Change:
    honest = {
        "tensor_tolerance": 1e-4, "frames": 3, "max_tensor_error": 1e-6, "boxes": 5, "unmatched": 0,
        "near_threshold": 0, "backend": "onnxruntime 1", "form": "default",
    }  # fmt: skip
    return _set("parity", honest | other)


def _choice(**other: object) -> dict[str, object]:
    return {
        "lowered": {}, "ap50": 0.5, "drop_points": 0.0, "drop_upper_points": 0.0, "keyframe_ms": 2.0,
        "propagated_ms": 1.0, "passed": True, "chosen": True,
    } | other  # fmt: skip


def _precision(**other: object) -> Change:
    honest = {
        "mode": "auto", "calibration": "a.json: a", "calibration_frames": 9, "gate": "a.json", "gate_sequences": ["b"],
        "gate_held_out": True, "max_drop_points": 0.5, "max_upper_points": 2.0, "engine": "onnxruntime 1",
        "torch_tensor_error": 0.0, "graph_ms": {"heavy": {"fp32": 2.0}}, "choices": [_choice()],
    }  # fmt: skip
    return _set("precision", honest | other)


def _way(**other: object) -> Change:
    """The default way between keyframes is another."""
    return _set("propagation/ways/features", {"kind": "features", "keyframe_interval": 10} | other)


def _extra(graph: str = "small", shape: object = (1, 32, 48, 3), dtype: str = "uint8") -> Change:
    """A program by the name ``half`` over a graph with an image of its own."""

    def change(data: dict[str, Any]) -> None:
        step = {"graph": graph, "inputs": {"image": "image"}}
        step["outputs"] = {name: name for name in ("boxes", "scores", "labels")}
        data["extra_programs"] = {"half": [step]}
        image = {"name": "image", "dtype": dtype, "shape": shape}
        data["graphs"]["small"] = data["graphs"].pop("blend") | {"inputs": [image]}
        data["graphs"]["small"]["outputs"] = data["graphs"]["head"]["outputs"]
        for steps in data["programs"].values():  # the hand-made bundle's own use of that file goes
            steps[:] = [part for part in steps if part["graph"] != "blend"]

    return change


def _wrapped(**other: object) -> Change:
    honest = {"file": "nano.onnx", "sha256": "0" * 64, "family": "yolox", "assumptions": ["pixels 0 to 255"]}
    return _set("wrapped", honest | other)


def _study(rows: object) -> Change:
    return _set("study", {"description": "two clips", "rows": rows})


def _ir(forms: object, listed: tuple[str, ...] = ("heavy.xml", "heavy.bin"), size: int = 9) -> Change:
    """The graph ``heavy`` has IR in those files, and the manifest lists those."""

    def change(data: dict[str, Any]) -> None:
        data["graphs"]["heavy"]["ir"] = forms
        data["files"].update({name: {"sha256": "0" * 64, "bytes": size} for name in listed})

    return change


CHANGES: dict[str, Change] = {
    "schema-3": _set("schema", 3),
    "schema-0": _set("schema", 0),
    "schema-1-with-new-fields": _set("schema", 1),
    "schema-text": _set("schema", "1"),
    "schema-true": _set("schema", True),
    "schema-missing": _drop("schema"),
    "unknown-key": _set("library", "evil.so"),
    "no-graphs": _drop("graphs"),
    "no-files": _set("files", {}),
    "graphs-list": _set("graphs", []),
    "graphs-null": _set("graphs", None),
    "programs-text": _set("programs", "first"),
    "steps-object": _set("programs/first", {}),
    "step-unknown-graph": _set("programs/first/0/graph", "../heavy"),
    "step-missing-input": _set("programs/first/0/inputs", {}),
    "step-extra-output": _set("programs/first/0/outputs", {"feature": "task", "other": "x"}),
    "slot-with-newline": _set("programs/first/0/outputs", {"feature": "a\nb"}),
    "state-twice": lambda data: data["state"].append(data["state"][0]),
    "state-never-written": lambda data: data["state"].append({"name": "age", "dtype": "int64", "shape": [1]}),
    "state-other-shape": _set("state/0/shape", [1, 4]),
    "state-huge": _set("state/0/shape", [1 << 62, 1 << 62]),
    "shape-negative": _set("state/0/shape", [-1, 3]),
    "shape-float": _set("state/0/shape", [1.0, 3]),
    "shape-100-axes": _set("state/0/shape", [1] * 100),
    "dtype-object": _set("state/0/dtype", "object"),
    "parameters-text": _set("graphs/heavy/parameters", "many"),
    "size-zero": _set("input/height_px", 0),
    "size-huge": _set("input/height_px", 1 << 40),
    "pad-negative": _set("input/pad_value", -1),
    "classes-empty": _set("classes", []),
    "classes-numbers": _set("classes", [1, 2]),
    "class-of-1-MB": _set("classes", ["x" * 900_000]),
    "classes-20000": _set("classes", [f"c{i}" for i in range(20_000)]),
    "interval-zero": _way(keyframe_interval=0),
    "interval-huge": _way(keyframe_interval=1 << 60),
    "interval-of-every-frame": _way(kind="every-frame", keyframe_interval=2),
    "way-code": _way(kind="os.system"),
    "way-unknown-key": _way(library="evil.so"),
    "way-program-absent": _way(kind="fused", program="half"),
    "way-program-missing": _way(kind="smaller-input"),
    "way-program-unwanted": _way(kind="hold", program="half"),
    "way-name-escapes": _set("propagation/ways", {"\x1b[2J": {"kind": "hold", "keyframe_interval": 2}}),
    "way-parameter-null": _way(parameters={"scale": None}),
    "way-parameter-list": _way(parameters={"scale": [1]}),
    "way-parameter-huge": _way(parameters={"scale": 1e300}),
    "way-parameter-text": _way(parameters={"preset": "x" * 5000}),
    "way-parameter-name": _way(parameters={"a b": 1}),
    "way-parameters-1000": _way(parameters={f"p{i}": i for i in range(1000)}),
    "ways-none": _set("propagation/ways", {}),
    "ways-1000": _set("propagation/ways", {f"w{i}": {"kind": "hold", "keyframe_interval": 2} for i in range(1000)}),
    "way-default-absent": _set("propagation/default", "hold"),
    "propagation-missing": _drop("propagation"),
    "features-unknown": _set("features", ["image"]),
    "features-twice": _set("features", ["task", "task"]),
    "features-text": _set("features", "task"),
    "features-1000": _set("features", ["task"] * 1000),
    "light-scale-zero": _set("light_scale", 0),
    "light-scale-huge": _set("light_scale", 1e30),
    "light-scale-text": _set("light_scale", "half"),
    "signal-unwritten": _set("signals", {"aggregation_weight": "nowhere"}),
    "signal-name": _set("signals", {"a\nb": "task"}),
    "signals-1000": _set("signals", {f"s{i}": "task" for i in range(1000)}),
    "extra-image-huge": _extra(shape=[1, 1 << 20, 96, 3]),
    "extra-image-float": _extra(dtype="float32"),
    "extra-image-symbolic": _extra(shape=[1, "H", "W", 3]),
    "extra-image-planes": _extra(shape=[1, 3, 64, 96]),
    "extra-image-flat": _extra(shape=[1]),
    "extra-unknown-graph": _extra(graph="../heavy"),
    "extra-no-boxes": _set("extra_programs", {"half": []}),
    "extra-name": _set("extra_programs", {"../half": []}),
    "extra-1000": _set("extra_programs", {f"e{i}": [] for i in range(1000)}),
    "corners-code": _set("detection/corners", "round"),
    "nms-iou-huge": _set("detection/nms_iou", 1e9),
    "nms-iou-text": _set("detection/nms_iou", "0.3"),
    "nms-iou-missing": lambda data: data["detection"].pop("nms_iou"),
    "wrapped-folder": _wrapped(file="/home/somebody/nano.onnx"),
    "wrapped-empty": _wrapped(file=""),
    "wrapped-digest": _wrapped(sha256="00"),
    "wrapped-escapes": _wrapped(family="yolo\x1b[2J"),
    "wrapped-long": _wrapped(family="x" * 8000),
    "wrapped-assumptions": _wrapped(assumptions=["x"] * 5000),
    "wrapped-code": _wrapped(loader="os.system"),
    "study-no-rows": _study([]),
    "study-rows-10000": _study([{"ms": 1}] * 10_000),
    "study-columns-1000": _study([{f"c{i}": 1 for i in range(1000)}]),
    "study-columns-differ": _study([{"ms": 1}, {"way": "hold"}]),
    "study-column-long": _study([{"x" * 5000: 1}]),
    "study-column-escapes": _study([{"ms\x1b[2J": 1}]),
    "study-nested": _study([{"ms": {"p50": 1}}]),
    "study-number-huge": _study([{"ms": 1e300}]),
    "study-text-long": _study([{"way": "x" * 5000}]),
    "study-list": _set("study", [{"ms": 1}]),
    "preset-code": _set("preset/name", {"__reduce__": "os.system"}),
    "preset-size": _set("preset/input/height_px", 1 << 30),
    "weights-source": _set("weights/source", "hub"),
    "licence-escapes": _set("weights/licence", "free\x1b[2J\x1b[1;1Hyours"),
    "licence-right-to-left": _set("weights/licence", "free \u202eylno"),
    "licence-lines": _set("weights/licence", "free\nwarranty: full"),
    "tool-escapes": _set("tools", {"lsts\x1b[0m": "1"}),
    "digest-short": _set("files/head.onnx/sha256", "00"),
    "bytes-negative": _set("files/head.onnx/bytes", -1),
    "bytes-huge": _set("files/head.onnx/bytes", 1 << 60),
    "file-parent": _listed("../outside.txt"),
    "file-inner-parent": _listed("golden/../../outside.txt"),
    "file-absolute": _listed("/etc/hostname.txt"),
    "file-backslash": _listed("golden\\note.txt"),
    "file-nul": _listed("note\0.txt"),
    "file-drive": _listed("C:note.txt"),
    "file-case": _listed("Golden/Note.txt"),
    "file-dot": _listed("./note.txt"),
    "file-unicode": _listed("n\u00f6te.txt"),
    "file-library": _listed("liblsts_ops.so"),
    "file-manifest": _listed("manifest.json"),
    "files-10000": lambda data: data["files"].update(
        {f"f{i}.txt": {"sha256": "0" * 64, "bytes": 0} for i in range(9000)}
    ),
    "tolerance-of-torch": _parity(tensor_tolerance=0.5),
    "tolerance-of-int8": _parity(tensor_tolerance=1e30, reference="own-programs"),
    "tolerance-negative": _parity(tensor_tolerance=-1.0),
    "reference-code": _parity(reference="os.system"),
    "precision-text": _set("precision", "int8"),
    "precision-of-graph": _set("graphs/heavy/precision", "int1"),
    "precision-unknown-key": _precision(code="import os"),
    "precision-graphs-differ": _precision(choices=[_choice(lowered={"heavy": "int8"})]),
    "precision-of-choice": _precision(choices=[_choice(lowered={"heavy": "int1"})]),
    "precision-graph-ms-key": _precision(graph_ms={"heavy": {"os.system": 1.0}}),
    "precision-graph-ms-negative": _precision(graph_ms={"heavy": {"fp32": -1.0}}),
    "precision-none-chosen": _precision(choices=[_choice(chosen=False)]),
    "precision-two-chosen": _precision(choices=[_choice(), _choice()]),
    "precision-chosen-refused": _precision(choices=[_choice(passed=False)]),
    "precision-many-choices": _precision(choices=[_choice(), *[_choice(chosen=False)] * 4000]),
    "precision-ap50-huge": _precision(choices=[_choice(ap50=1e300)]),
    "precision-time-negative": _precision(choices=[_choice(keyframe_ms=-1.0)]),
    "precision-frames": _precision(calibration_frames=1 << 70),
    "precision-gate-escapes": _precision(gate="\x1b[2Jall fine"),
    "graph-parent": _graph_file("../heavy.onnx"),
    "graph-absolute": _graph_file("/heavy.onnx"),
    "graph-manifest": _set("graphs/heavy/forms/default", "manifest.json"),
    "graph-unlisted": _set("graphs/heavy/forms/default", "other.onnx"),
    "graph-shared": _set("graphs/heavy/forms/default", "head.onnx"),
    "ir-text": _set("graphs/heavy/ir", "heavy.xml"),
    "ir-unknown-form": _ir({"taps": "heavy.xml"}),
    "ir-parent": _ir({"default": "../heavy.xml"}, ("../heavy.xml", "../heavy.bin")),
    "ir-other-suffix": _ir({"default": "heavy.txt"}, ("heavy.txt", "heavy.bin")),
    "ir-is-the-onnx": _ir({"default": "heavy.onnx"}, ("heavy.bin",)),
    "ir-shared": lambda data: (
        _ir({"default": "heavy.xml"})(data),
        _set("graphs/head/ir", data["graphs"]["heavy"]["ir"])(data),
    ),
    "ir-without-weights": _ir({"default": "heavy.xml"}, ("heavy.xml",)),
    "ir-of-other-weights": _ir({"default": "heavy.xml"}, ("heavy.xml", "head.bin")),
    "ir-unused": _ir({}),
    "ir-of-1-GB": _ir({"default": "heavy.xml"}, size=1 << 30),
    "weights-alone": _listed("heavy.bin"),
}

HONEST: dict[str, Change] = {
    "nothing": lambda data: None,
    "parity": _parity(),
    "precision": _precision(),
    "way": _way(parameters={"scale": 0.5, "preset": "fast", "boxes": 3, "rigid": True}),
    "extra": _extra(),
    "wrapped": _wrapped(),
    "study": _study([{"way": "hold", "ms": 1.5, "frames": 3, "passed": True, "ap": None}] * 256),
    "signals": _set("signals", {"aggregation_weight": "task"}),
    "no-preset": _set("preset", None),
    "no-suppression": _set("detection/nms_iou", None),
}
"""What the changes above start from: each must be accepted as it is."""

REWRITES: dict[str, Callable[[bytes], bytes]] = {
    "duplicate-key": lambda text: text.replace(b'"schema":2', b'"schema":2,"schema":2'),
    "duplicate-name": lambda text: text.replace(b'"classes":', b'"classes":["cat"],"classes":'),
    "nan": lambda text: text.replace(b'"score_floor":0.05', b'"score_floor":NaN'),
    "infinity": lambda text: text.replace(b'"score_floor":0.05', b'"score_floor":-Infinity'),
    "1e400": lambda text: text.replace(b'"score_floor":0.05', b'"score_floor":1e400'),
    "long-number": lambda text: text.replace(b'"schema":2', b'"schema":' + b"1" * 900_000),
    "long-fraction": lambda text: text.replace(b'"score_floor":0.05', b'"score_floor":0.' + b"0" * 900_000 + b"5"),
    "deep-lists": lambda text: text.replace(b'"schema":2', b'"schema":' + b"[" * 10_000 + b"]" * 10_000),
    "deep-objects": lambda text: text.replace(b'"schema":2', b'"schema":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "many-lists": lambda text: text.replace(b'"schema":2', b'"schema":[' + b"[]," * 340_000 + b"[]]"),
    "50-MB": lambda text: text.replace(b'"schema":2', b'"schema":' + b" " * 50_000_000 + b"1"),
    "spaces": lambda text: text.replace(b'"schema":2', b'"schema": 2'),
    "trailing": lambda text: text + b"\n",
    "two-documents": lambda text: text + text,
    "byte-order-mark": lambda text: b"\xef\xbb\xbf" + text,
    "not-utf-8": lambda text: text.replace(b"hand-made", b"hand\xff-made"),
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "list": lambda text: b'["name":1]',
    "text": lambda text: b'"name":',
    "seal-inside": lambda text: text.replace(b'"parity":', b'"parity" :').replace(b'"name":"hand', b'"name" :"hand'),
    "surrogate": lambda text: text.replace(b'"bird"', b'"\\udc00\\ud800"'),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("manifests")
    for name, change in CHANGES.items():
        forge(folder / name, change=change)
    for name, rewrite in REWRITES.items():
        forge(folder / name, rewrite=rewrite)
    for name, change in HONEST.items():
        forge(folder / f"planted-{name}", change=change)
    return measure(folder)


@pytest.mark.parametrize("name", [*CHANGES, *REWRITES])
def test_refused(name: str, report: dict[str, Any]) -> None:
    outcome = report[name]
    assert outcome["code"] in ("bundle-manifest", "bundle-digest", "bundle"), outcome
    assert outcome["seconds"] < HANG_S
    assert outcome["grown_mb"] < 64
    assert len(outcome["text"]) < 2000


def test_counts_and_the_reason_is_the_content(report: dict[str, Any]) -> None:
    """Most are refused for what they say: the digest fits, so ``bundle-digest`` would be the wrong reason."""
    assert {report[name]["code"] for name in CHANGES} == {"bundle-manifest"}
    assert len(CHANGES) + len(REWRITES) >= 40


def test_planted_fault_the_honest_forgery_is_accepted(report: dict[str, Any]) -> None:
    """Were it refused, the forging would be at fault and the refusals above would say nothing."""
    for name in HONEST:
        assert report[f"planted-{name}"]["code"] == "accepted", report[f"planted-{name}"]
