"""Precisions: the gate, the table, the recording of lowered programs, and that a bad one is never published."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from export_bundles import rewrite
from toy_data import HEIGHT, WIDTH, write_toy_data

from lsts_edge.bundle import Bundle, DraftBundle
from lsts_edge.bundle.precision_info import PrecisionChoice, PrecisionInfo
from lsts_edge.cli import main
from lsts_edge.errors import CheckFailed, ExportError, OptionError
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.bundles import run_bundle
from lsts_edge.evaluation.metrics import paired_difference, sequence_matches
from lsts_edge.export import exporter, quantize
from lsts_edge.export.exporter import export_model, with_ir
from lsts_edge.export.half import halved
from lsts_edge.presets import FIVE_GROUPS
from lsts_edge.publish import check
from lsts_edge.publish.calibration import CalibrationClips, record_feeds
from lsts_edge.publish.gate import ProgramSet, program_sets
from lsts_edge.publish.graph_times import FrameTimes, GraphTimes
from lsts_edge.publish.network import load_network
from lsts_edge.publish.precision import PrecisionPlan, _search, choose_precision, plan_precision
from lsts_edge.publish.publish import publish
from lsts_edge.runtime.engines.interface import Backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import check_parity, verify_bundle
from lsts_edge.verify.references import RecordedReference

FRAMES = 13  # a keyframe after the first, at 10


@pytest.fixture(scope="module")
def exported() -> DraftBundle:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    return export_model(network, weights)


@pytest.fixture(scope="module")
def toy(exported: DraftBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy clips on which a random network finds something: its own best boxes are the truth."""
    path = write_toy_data(tmp_path_factory.mktemp("toy"), frames=FRAMES)
    found = run_bundle(exported, read_annotations(path, FIVE_GROUPS), keyframe_interval=10)
    data = json.loads(path.read_text())
    data["ignore"], data["annotations"] = [], []
    for image, detections in found.items():
        for box, label in list(zip(detections.xyxy_px.tolist(), detections.labels.tolist(), strict=True))[:2]:
            x1, y1, x2, y2 = box
            row = {"image_id": image, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            data["annotations"].append(row)
    path.write_text(json.dumps(data))
    return path


def _plan(
    toy: Path, mode: Literal["int8", "fp16", "auto"] = "int8", *, gated: bool = True, **options: Any
) -> PrecisionPlan:
    settings: dict[str, Any] = {"calibrate": toy, "calibrate_sequences": ["bird"]}
    settings |= {"gate_sequences": ["vehicle"]} if gated else {}
    return plan_precision(mode, FIVE_GROUPS, **{**settings, **options})


@pytest.fixture(scope="module")
def bundle(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    plan = _plan(toy, gated=False)
    target = tmp_path_factory.mktemp("int8") / "bundle"
    return publish(network, weights, target, forms=("taps", "gridsample"), frames=12, precision=plan).bundle


def test_the_manifest_tells_precisions_and_how_they_were_chosen(bundle: Bundle) -> None:
    manifest = Bundle.open(bundle.path).manifest
    int8 = {name for name, graph in manifest.graphs.items() if graph.precision == "int8"}
    assert {"heavy", "light", "embed_key", "aggregate_current", "first", "keyframe", "nonkeyframe"} <= int8
    assert not {"head", "lsts_key", "lsts_current"} & int8
    info = manifest.precision
    assert info is not None and info.gate is None and info.calibration == "toy.json: bird"
    assert info.calibration_frames == FRAMES
    assert [choice.chosen for choice in info.choices] == [False, True]
    assert 1e-4 < info.torch_tensor_error < 1
    parity = manifest.parity
    assert parity is not None and parity.reference == "own-programs" and parity.tensor_tolerance > 1e-4


def test_joined_graphs_are_made_of_the_int8_ones(bundle: Bundle) -> None:
    for form in ("taps", "gridsample"):
        kinds = [node.op_type for node in onnx.ModelProto.FromString(bundle.graph_bytes("keyframe", form)).graph.node]
        assert "QuantizeLinear" in kinds and "Softmax" in kinds


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_recording_of_int8_holds_on_each_engine(bundle: Bundle, backend: str) -> None:
    report = verify_bundle(bundle, RecordedReference(bundle), EngineOptions(backend))
    check_parity(report)
    assert "its own graphs" in report.against
    assert len(report.programs) == 4  # two forms, split and joined


def _scaled(raw: bytes, factor: float) -> bytes:
    """The model with the scales of its largest weight changed: the weights of one layer are wrong."""
    model = onnx.ModelProto.FromString(raw)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = [
        node for node in model.graph.node
        if node.op_type == "DequantizeLinear" and getattr(tensors.get(node.input[0]), "data_type", 0) == 3
    ]  # fmt: skip
    node = max(weights, key=lambda node: int(np.prod(tensors[node.input[0]].dims)))
    scales = tensors[node.input[1]]
    scales.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scales) * np.float32(factor), scales.name))
    return model.SerializeToString()


@pytest.mark.parametrize("graph", ["heavy", "light", "embed_key", "embed_current"])
def test_planted_fault_a_wrong_weight_is_seen(bundle: Bundle, tmp_path: Path, graph: str) -> None:
    wrong = rewrite(bundle, tmp_path / "wrong", lambda name, raw: _scaled(raw, 2) if name == f"{graph}.onnx" else raw)
    report = verify_bundle(wrong, RecordedReference(wrong), forms=("taps",), joined=(False,))
    with pytest.raises(CheckFailed, match="tensor error"):
        check_parity(report)


def test_inputs_are_recorded_with_the_memory_carried(toy: Path, exported: DraftBundle) -> None:
    clips = CalibrationClips(toy, read_annotations(toy, FIVE_GROUPS).only({"bird"}).sequences())
    recording = record_feeds(exported, clips)
    feeds = recording.feeds
    assert recording.frames == FRAMES
    assert {name: len(rows) for name, rows in feeds.items()} == {
        "heavy": 2, "embed_memory": 2, "head": FRAMES, "light": FRAMES - 2, "embed_current": FRAMES - 2,
        "lsts_current": FRAMES - 2, "aggregate_current": FRAMES - 2, "embed_key": 1, "lsts_key": 1, "aggregate_key": 1,
    }  # fmt: skip
    first, second = (row["task"] for row in feeds["embed_memory"])
    assert np.array_equal(feeds["embed_key"][0]["memory"], first)  # the memory of frame 0, ten frames later
    assert not np.array_equal(first, second)
    aligned = [row["aligned"] for row in feeds["aggregate_current"]]
    assert not np.array_equal(aligned[0], aligned[1])


def _planted_times(
    backend: Backend, versions: Mapping[str, Mapping[str, bytes]], feeds: Mapping[str, Sequence[Any]]
) -> GraphTimes:
    """The same times on every machine: fp16 saves half of a graph and int8 three quarters, the larger the more."""
    factor = {"fp32": 1.0, "fp16": 0.5, "int8": 0.25}
    return {
        name: {kind: round(len(contents["fp32"]) / 1e3 * factor[kind], 4) for kind in contents}
        for name, contents in versions.items()
    }


def _auto(toy: Path, **options: Any) -> PrecisionPlan:
    return dataclasses.replace(_plan(toy, "auto", **options), timer=_planted_times)


def _best(exported: DraftBundle, plan: PrecisionPlan, **options: Any) -> tuple[DraftBundle, PrecisionInfo]:
    """The first draft, and how it was chosen."""
    draft = next(choose_precision(exported, plan, forms=("taps",), threads=1, **options))
    assert draft.manifest.precision is not None
    return draft, draft.manifest.precision


def _refused_by_the_gate(plan: PrecisionPlan, fp32: DraftBundle, written: DraftBundle) -> list[bool]:
    """Of each program set of the files: whether the drop that is measured here is beyond a limit."""
    assert plan.gate is not None
    truth, refused = plan.gate.truth, []
    for which in program_sets(written.manifest, ("taps",)):
        before, after = (
            list(
                sequence_matches(
                    truth,
                    run_bundle(
                        export,
                        truth,
                        keyframe_interval=10,
                        engine=EngineOptions(which.backend, threads=1, lsts_form=which.form, joined=which.joined),
                    ),
                    0.5,
                ).values()
            )
            for export in (fp32, written)
        )
        paired = paired_difference(before, after)
        refused.append(100 * paired["difference"] > 0.5 or 100 * paired["high"] > 2.0)
    return refused


def test_auto_tells_every_choice_and_its_files_pass_the_gate(toy: Path, exported: DraftBundle) -> None:
    told: list[str] = []
    plan = _auto(toy, held_out=["vehicle"])
    written, info = _best(exported, plan, progress=lambda what, *_: told.append(what))
    assert info.gate_sequences == ("vehicle",) and info.gate_held_out
    assert len(info.choices) >= 8 and info.choices[0].lowered == {}
    assert info.choices[0].drop_points == 0 and info.choices[0].ap50 is not None and info.choices[0].ap50 > 0.3
    for choice in info.choices:
        assert choice.drop_points is not None and choice.drop_upper_points is not None
        assert choice.passed == (choice.drop_points <= 0.5 and choice.drop_upper_points <= 2.0)
    assert info.chosen is [choice for choice in info.choices if choice.passed][-1]
    assert any("AP50" in line for line in told) and any("quantising heavy" in line for line in told)
    assert _refused_by_the_gate(plan, exported, written) == [False, False]  # joined, split


def test_program_sets_are_all_that_the_files_can_run(exported: DraftBundle) -> None:
    manifest = exported.manifest
    split = [ProgramSet("onnxruntime", form, False) for form in ("taps", "custom")]
    joined = [ProgramSet("onnxruntime", form, True) for form in ("taps", "custom")]
    assert program_sets(manifest, ("taps", "custom")) == [*joined, *split]
    assert program_sets(dataclasses.replace(manifest, joined={}), ("taps", "custom")) == split
    both = program_sets(with_ir(exported).manifest, ("taps",))
    assert [str(which) for which in both] == [
        "taps joined on onnxruntime",
        "taps joined on openvino",
        "taps split on onnxruntime",
        "taps split on openvino",
    ]


@pytest.fixture
def _int8_joins_badly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: int8 graphs are right, but the graphs joined of them have wrong weights."""
    real = exporter._joined

    def bad(*arguments: Any) -> Any:
        made, step = real(*arguments)
        for form, model in made.items():
            if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
                made[form] = onnx.ModelProto.FromString(_scaled(model.SerializeToString(), 30))
        return made, step

    monkeypatch.setattr(exporter, "_joined", bad)


@pytest.mark.usefixtures("_int8_joins_badly")
def test_planted_fault_what_fails_only_in_the_joined_graphs_is_not_chosen(toy: Path, exported: DraftBundle) -> None:
    plan = _auto(toy)
    written, info = _best(exported, plan)
    tried = [choice.passed for choice in info.choices if "int8" in choice.lowered.values()]
    assert tried and not all(tried)
    assert _refused_by_the_gate(plan, exported, written) == [False, False]
    with pytest.raises(CheckFailed, match=r"AP50 of the int8 graphs \(taps joined on onnxruntime\)"):
        _best(exported, _plan(toy))


def test_the_ir_is_judged_in_its_own_engine(toy: Path, exported: DraftBundle) -> None:
    pytest.importorskip("openvino")
    told: list[str] = []
    plan = _auto(toy, graphs=["embed_memory"])
    written, info = _best(exported, plan, finish=with_ir, progress=lambda what, *_: told.append(what))
    assert "embed_memory.xml" in {Path(name).name for name in written.files}
    measured = [line for line in told if line.startswith("AP50 of float32")]
    assert [line.split("(")[1].split(")")[0] for line in measured] == [
        str(which) for which in program_sets(written.manifest, ("taps",))
    ]
    assert len(measured) == 4 and _refused_by_the_gate(plan, with_ir(exported), written) == [False] * 4
    assert info.chosen.lowered == {} or set(info.chosen.lowered) == {"embed_memory"}


def test_auto_steps_back_from_what_is_refused(toy: Path, exported: DraftBundle) -> None:
    """Asking for another draft refuses the last: fewer lowered graphs each time, float32 at the end."""
    drafts = list(choose_precision(exported, _auto(toy), forms=("taps",), threads=1))
    lowered = [sum(graph.precision != "fp32" for graph in draft.manifest.graphs.values()) for draft in drafts]
    assert len(drafts) >= 3 and lowered == sorted(set(lowered), reverse=True) and lowered[-1] == 0
    for draft in drafts:
        info = draft.manifest.precision
        assert info is not None
        kinds = {name: graph.precision for name, graph in draft.manifest.graphs.items()}
        assert {name: kinds[name] for name in info.chosen.lowered} == info.chosen.lowered
        assert info.chosen is [choice for choice in info.choices if choice.passed][-1]


def test_float32_is_the_last_step_back_and_is_published(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*arguments: object) -> None:
        raise CheckFailed("planted", got="a fault", expected="none", fix="Step back.")

    monkeypatch.setattr(check, "_own_recording", planted)
    network, weights, _ = load_network("random", preset="lsts-tiny")
    bundle = publish(network, weights, tmp_path / "b", frames=3, precision=_auto(toy)).bundle
    info = Bundle.open(bundle.path).manifest.precision
    assert info is not None and info.chosen.lowered == {}
    assert [choice.passed for choice in info.choices] == [True] + [False] * (len(info.choices) - 1)
    assert {graph.precision for graph in bundle.manifest.graphs.values()} == {"fp32"}
    check_parity(verify_bundle(bundle, RecordedReference(bundle)))
    with pytest.raises(CheckFailed, match="planted"):
        publish(network, weights, tmp_path / "c", frames=3, precision=_plan(toy, gated=False))
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_half_precision_needs_no_calibration_and_is_close(tmp_path: Path) -> None:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    plan = plan_precision("fp16", FIVE_GROUPS, calibrate=None)
    bundle = publish(network, weights, tmp_path / "b", frames=12, precision=plan).bundle
    manifest = Bundle.open(bundle.path).manifest
    assert manifest.graphs["heavy"].precision == manifest.graphs["keyframe"].precision == "fp16"
    assert {manifest.graphs[name].precision for name in ("head", "lsts_key", "lsts_current")} == {"fp32"}
    info = manifest.precision
    assert info is not None and info.calibration == "the built-in clip" and info.gate is None
    assert 0 < info.torch_tensor_error < 0.01  # ten bits of mantissa
    assert set(info.graph_ms["heavy"]) == {"fp32", "fp16"} and set(info.graph_ms["head"]) == {"fp32", "fp16"}
    assert all(value > 0 for times in info.graph_ms.values() for value in times.values())
    halves = onnx.ModelProto.FromString(bundle.graph_bytes("heavy", "default")).graph.initializer
    assert sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in halves) >= 5
    check_parity(verify_bundle(bundle, RecordedReference(bundle)))


def test_what_cannot_be_halved_is_refused(exported: DraftBundle) -> None:
    with pytest.raises(ExportError, match="stays in float32"):
        halved("lsts_key", exported.files[exported.manifest.graphs["lsts_key"].forms["taps"]])


def test_the_search_takes_the_next_precision_of_a_graph_that_failed() -> None:
    def measure(lowered: Mapping[str, str]) -> PrecisionChoice:
        passed = lowered.get("heavy") != "int8" and len(lowered) < 3
        return PrecisionChoice(dict(lowered), 0.5, 0.0, 0.0, 1.0, 1.0, passed, chosen=False)  # type: ignore[arg-type]

    paying = [("heavy", "int8"), ("light", "int8"), ("heavy", "fp16"), ("light", "fp16"), ("head", "fp16")]
    found = _search(measure, measure({}), paying)  # type: ignore[arg-type]
    assert found.lowered == {"light": "int8", "heavy": "fp16"} and found.words == "fp16 heavy; int8 light"


def test_what_pays_is_tried_in_the_order_of_its_saving(exported: DraftBundle) -> None:
    manifest = exported.manifest
    parts = {step.graph for steps in manifest.programs.values() for step in steps}
    graph_ms = {name: {"fp32": 1.0, "fp16": 2.0, "int8": 1.0} for name in parts}
    graph_ms["heavy"] |= {"fp32": 100.0, "fp16": 150.0, "int8": 90.0}
    graph_ms["light"] |= {"fp32": 20.0, "fp16": 19.0, "int8": 10.0}
    times = FrameTimes(graph_ms, manifest)
    keyframe_ms, propagated_ms = times.frame_ms({})
    assert times.frame_ms({"heavy": "int8"}) == (keyframe_ms - 10.0, propagated_ms)
    assert times.frame_ms({"light": "int8"}) == (keyframe_ms, propagated_ms - 10.0)
    versions: list[tuple[str, Any]] = [(name, kind) for name in sorted(parts) for kind in ("fp16", "int8")]
    assert times.paying(versions) == [("light", "int8"), ("heavy", "int8"), ("light", "fp16")]


@pytest.fixture
def _bad_quantisation(monkeypatch: pytest.MonkeyPatch) -> None:
    real = quantize.quantized

    def bad(name: str, raw: bytes, feeds: object) -> onnx.ModelProto:
        return onnx.ModelProto.FromString(_scaled(real(name, raw, feeds).SerializeToString(), 30))  # type: ignore[arg-type]

    monkeypatch.setattr(quantize, "quantized", bad)


@pytest.mark.usefixtures("_bad_quantisation")
def test_planted_fault_a_bad_quantisation_is_not_published(toy: Path, tmp_path: Path) -> None:
    network, weights, _ = load_network("random", preset="lsts-tiny")
    with pytest.raises(CheckFailed, match="AP50 of the int8 graphs"):
        publish(network, weights, tmp_path / "b", frames=2, precision=_plan(toy))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_bad_quantisation")
def test_planted_fault_a_bad_quantisation_is_not_chosen(toy: Path, exported: DraftBundle) -> None:
    written, info = _best(exported, _auto(toy))
    assert written.manifest.graphs["heavy"].precision != "int8"
    tried = [choice.passed for choice in info.choices if choice.lowered.get("heavy") == "int8"]
    assert tried and not any(tried)


def test_options_are_checked_against_each_other(toy: Path) -> None:
    with pytest.raises(OptionError, match="bird in both"):
        _plan(toy, gate_sequences=["bird", "vehicle"])
    with pytest.raises(OptionError, match="nothing to calibrate on"):
        _plan(toy, calibrate=None)
    with pytest.raises(OptionError, match="nothing to measure AP50 on"):
        _plan(toy, "auto", gated=False)
    with pytest.raises(OptionError, match="no sequence that was held out"):
        _plan(toy, gated=False, gate=toy)
    with pytest.raises(OptionError, match="--gate-sequences"):
        _plan(toy, gate_sequences=["cat"])
    with pytest.raises(OptionError, match="--max-ap-drop"):
        _plan(toy, max_drop_points=-1.0)
    with pytest.raises(OptionError, match="in both"):
        _plan(toy, calibrate_sequences=[], gate_sequences=["bird", "vehicle"])
    with pytest.raises(OptionError, match=r"--lower.*lsts_key.*embed_key, embed_memory, head, heavy, light"):
        _plan(toy, graphs=["heavy", "lsts_key"])
    plan = _plan(toy, "auto", gated=False, held_out=["vehicle", "other"], calibrate_sequences=[])
    assert plan.gate is not None and set(plan.gate.truth.sequences()) == {"vehicle"} and plan.gate.held_out
    assert set(plan.clips.sequences) == {"bird"}


@pytest.mark.parametrize("mode", ["int8", "fp16"])
def test_only_the_named_graphs_are_lowered(toy: Path, exported: DraftBundle, mode: Literal["int8", "fp16"]) -> None:
    plan = _plan(toy, mode, gated=False, graphs=["light", "head"])
    _, info = _best(exported, plan)
    assert [choice.lowered for choice in info.choices] == [{}, {"light": mode, "head": mode}]


def test_a_graph_that_this_network_lacks_is_refused(toy: Path, exported: DraftBundle) -> None:
    plan = _plan(toy, gated=False, graphs=["aggregate_task"])  # of another memory than this preset's
    with pytest.raises(OptionError, match="--lower"):
        _best(exported, plan)


def test_a_gate_that_shows_nothing_is_refused(toy: Path, exported: DraftBundle) -> None:
    data = json.loads(toy.read_text())
    for row in data["annotations"]:
        row["bbox"] = [WIDTH - 3, HEIGHT - 3, 2, 2]
    empty = toy.with_name("empty.json")
    empty.write_text(json.dumps(data))
    with pytest.raises(OptionError, match="of the float32 network"):
        _best(exported, _plan(empty))


def test_the_command_exports_and_shows(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        assert left.value.code == 0
        return capsys.readouterr().out

    export = ("export", "--checkpoint", "random", "--preset", "lsts-tiny", "--output", tmp_path / "b")
    out = run(*export, "--verify-frames", 3, "--precision", "int8", "--calibrate", toy, "--calibrate-sequences", "bird")
    lowered = "aggregate_current, aggregate_key, embed_current, embed_key, embed_memory, heavy, light"
    assert f"int8: int8 {lowered}\n" in out and f"int8 {lowered} (chosen)" in out
    shown = run("inspect", tmp_path / "b")
    assert "calibrated  13 frames of toy.json: bird" in shown and "lower precision with its recording" in shown
    assert "the bundle matches outputs of its own graphs" in run("verify", tmp_path / "b")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--calibrate x.json", "a calibration or a gate for fp32"),
        ("--lower heavy", "graphs to lower"),
        ("--precision auto", "nothing to calibrate on"),
        ("--precision bf16", "is not one of"),
    ],
)
def test_bad_options_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(
            [
                "export",
                "--checkpoint",
                "random",
                "--preset",
                "lsts-tiny",
                "--output",
                str(tmp_path / "b"),
                *words.split(),
            ]
        )
    assert left.value.code == 2
    assert told in capsys.readouterr().err
