"""Writes a network as the subgraphs, joined graphs and manifest of a bundle; touches no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
import torch

from lsts_edge import __version__
from lsts_edge.bundle import DraftBundle
from lsts_edge.bundle.manifest import (
    DetectionInfo,
    DType,
    GraphInfo,
    InputInfo,
    LstsInfo,
    Manifest,
    StateInfo,
    Step,
    TensorInfo,
    WeightsInfo,
    ir_weights,
)
from lsts_edge.bundle.precision_info import LowPrecision
from lsts_edge.errors import ExportError
from lsts_edge.export.alignment_graphs import alignment_graphs
from lsts_edge.export.blend_graphs import blend_graphs
from lsts_edge.export.conv_graphs import conv_graphs
from lsts_edge.export.head_graph import head_graph
from lsts_edge.export.join import JOINED_NAMES, join
from lsts_edge.export.lsts_graph import LSTS_FORMS, lsts_graph, taps_within
from lsts_edge.export.open_size import check_open_size
from lsts_edge.export.openvino_ir import FORMS_WITHOUT_IR, openvino_ir
from lsts_edge.export.programs import programs_of
from lsts_edge.export.shapes import feature_shape, largest_map
from lsts_edge.model.boxes import CORNERS
from lsts_edge.model.counts import multiply_adds, parameters, total_parameters
from lsts_edge.model.lsts import LstsAlignment
from lsts_edge.model.network import VideoNetwork
from lsts_edge.opspec import LSTS
from lsts_edge.presets import ModelPreset
from lsts_edge.progress import Progress, silent
from lsts_edge.taps import tap_plan

__all__ = ["JOINED_MAX_PARAMETERS", "checked_forms", "export_model", "require_ir_form", "with_ir", "with_lowered"]

JOINED_MAX_PARAMETERS = 16_000_000
"""Joined graphs repeat the weights of every stage: above this they are written only when asked for."""

_DTYPES: dict[int, DType] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT64: "int64",
}
_LSTS_CURRENT_INPUT = {"lsts_key": "feature_embedding", "lsts_current": "high_embedding"}

Graphs = dict[str, dict[str, onnx.ModelProto]]  # graph name -> form -> model


def export_model(
    network: VideoNetwork,
    weights: WeightsInfo,
    *,
    forms: Sequence[str] = ("taps",),
    joined: bool | None = None,
    progress: Progress = silent,
) -> DraftBundle:
    """Every subgraph of a network as a draft without parity, in float32 at its preset's input size, or at any.

    Args:
        network: in evaluation mode, on the CPU.
        weights: where the weights come from, for the manifest.
        forms: LSTS forms; the first is the bundle's default.
        joined: also write one graph per kind of frame; None does so below ``JOINED_MAX_PARAMETERS``.
        progress: told of each step as it starts.

    Raises:
        ExportError: if a part of the network has no ONNX form.
    """
    preset = network.preset
    programs = programs_of(preset)
    forms = checked_forms(forms) if preset.samples else ()
    check_open_size(preset, forms)
    progress("tracing the convolutions")
    graphs: Graphs = {name: {"default": model} for name, model in conv_graphs(network).items()}
    lsts = None
    if not preset.per_frame:
        progress(f"writing embeddings, aggregation and alignment ({', '.join(forms) or preset.alignment})")
        shape = feature_shape(preset)
        written = blend_graphs(network, shape) | alignment_graphs(network, shape)
        graphs |= {name: {"default": model} for name, model in written.items()}
    if preset.samples:
        offsets = _constant_offsets(network)
        for name in _LSTS_CURRENT_INPUT if preset.srfu != "off" else ("lsts_current",):
            graphs[name] = {form: _lsts(name, form, offsets, preset) for form in forms}
        lsts = _lsts_info(offsets, preset, forms)
    progress("writing the head")
    graphs["head"] = {"default": head_graph(network, feature_shape(preset))}
    counts, costs = parameters(network), multiply_adds(network)
    joined_steps: dict[str, tuple[Step, ...]] = {}
    if joined or (joined is None and total_parameters(network) <= JOINED_MAX_PARAMETERS):
        for kind, steps in programs.programs.items():
            progress(f"joining {JOINED_NAMES[kind]}")
            name = JOINED_NAMES[kind]
            graphs[name], step = _joined(name, steps, graphs, programs.state)
            joined_steps[kind] = (step,)
            parts = {step.graph for step in steps}
            counts[name] = sum(counts.get(part, 0) for part in parts)
            costs[name] = sum(costs.get(part, 0) for part in parts)
    files: dict[str, bytes] = {}
    infos: dict[str, GraphInfo] = {}
    for name, models in graphs.items():
        names = {form: f"{name}.onnx" if form == "default" else f"{name}.{form}.onnx" for form in models}
        files |= {names[form]: model.SerializeToString(deterministic=True) for form, model in models.items()}
        infos[name] = _graph_info(next(iter(models.values())), names, counts.get(name, 0), costs.get(name, 0))
    size, head = preset.input, preset.head
    slots = {
        step.outputs[tensor.name]: tensor
        for step in programs.programs["first"]
        for tensor in infos[step.graph].outputs
        if tensor.name in step.outputs
    }
    manifest = Manifest(
        name=preset.name,
        tools={"lsts_edge": __version__, "torch": torch.__version__, "onnx": onnx.__version__},
        weights=weights,
        preset=preset,
        input=InputInfo.of(size),
        classes=tuple(head.classes),
        graphs=infos,
        state=tuple(StateInfo(slot, slots[slot].dtype, slots[slot].shape) for slot in programs.state),
        features=programs.features,
        light_scale=preset.light_scale,
        programs=programs.programs,
        joined=joined_steps,
        lsts=lsts,
        propagation=programs.propagation,
        detection=DetectionInfo(head.score_floor, head.max_detections, head.nms_iou, CORNERS),
        parity=None,
    )
    return DraftBundle.of(manifest, files)


def with_lowered(exported: DraftBundle, models: Mapping[str, tuple[LowPrecision, bytes]]) -> DraftBundle:
    """The same export with some of its split graphs in a lower precision; joined graphs are made again from them.

    A joined graph is said to be of the lowest precision among its parts.

    Args:
        exported: in float32.
        models: graph name -> a precision and the graph in it, serialised, with the same inputs and outputs.
    """
    manifest = exported.manifest
    files, infos = dict(exported.files), dict(manifest.graphs)
    for name, (precision, content) in models.items():
        files[infos[name].forms["default"]] = content
        infos[name] = replace(infos[name], precision=precision)
    joined_names = {step.graph for steps in manifest.joined.values() for step in steps}
    graphs: Graphs = {
        name: {form: onnx.ModelProto.FromString(files[file]) for form, file in info.forms.items()}
        for name, info in (infos.items() if joined_names else ())
        if name not in joined_names
    }
    for kind, (step,) in manifest.joined.items():
        name, steps = step.graph, manifest.programs[kind]
        lowered = {models[part.graph][0] for part in steps if part.graph in models}
        if lowered:
            made, _ = _joined(name, steps, graphs, [slot.name for slot in manifest.state])
            files |= {infos[name].forms[form]: m.SerializeToString(deterministic=True) for form, m in made.items()}
            infos[name] = replace(infos[name], precision="int8" if "int8" in lowered else "fp16")
    return DraftBundle.of(replace(manifest, graphs=infos), files)


def with_ir(exported: DraftBundle) -> DraftBundle:
    """The same export with OpenVINO IR beside the ONNX file of every form but ``custom``.

    Raises:
        ExportError: if OpenVINO does not convert a graph.
    """
    manifest, files = exported.manifest, dict(exported.files)
    infos = {}
    for name, info in manifest.graphs.items():
        ir = {
            form: file.removesuffix(".onnx") + ".xml"
            for form, file in info.forms.items()
            if form not in FORMS_WITHOUT_IR
        }
        for form, xml in ir.items():
            onnx_bytes = files[info.forms[form]]
            files[xml], files[ir_weights(xml)] = openvino_ir(onnx_bytes, name, folded=info.precision != "int8")
        infos[name] = replace(info, ir=ir)
    tools = {**manifest.tools, "openvino": version("openvino")}
    return DraftBundle.of(replace(manifest, graphs=infos, tools=tools, files={}), files)


def checked_forms(forms: Sequence[str]) -> tuple[str, ...]:
    """The LSTS forms, each once.

    Raises:
        ExportError: if one is unknown or there is none.
    """
    unique = tuple(dict.fromkeys(forms))
    unknown = [form for form in unique if form not in LSTS_FORMS]
    if unknown or not unique:
        raise ExportError(
            "LSTS forms", got=", ".join(unknown) or "none", expected=", ".join(LSTS_FORMS), fix="Choose from these."
        )
    return unique


def require_ir_form(forms: Sequence[str]) -> None:
    """Refuse LSTS forms of which none has an IR.

    Raises:
        ExportError: if there are forms, and all are ``custom``.
    """
    if forms and set(forms) <= set(FORMS_WITHOUT_IR):
        raise ExportError(
            "OpenVINO IR of the LSTS graphs",
            got=f"form {', '.join(forms)} only, whose operator is not OpenVINO's",
            expected="a form of standard operators",
            fix="Add --lsts-form taps.",
        )


def _constant_offsets(network: VideoNetwork) -> np.ndarray:
    """``(K, 2)`` float32: taps exist only while the offsets are one table that no input changes."""
    lsts = network.lsts
    offsets = lsts.offsets.detach().cpu().float() if isinstance(lsts, LstsAlignment) else None
    if offsets is None or offsets.ndim != 2 or not torch.isfinite(offsets).all():
        raise ExportError(
            "LSTS offsets",
            got="offsets that are computed, not stored" if offsets is None else "NaN or infinity",
            expected="one finite (K, 2) table, a parameter of LstsAlignment",
            fix="Freeze the offsets before exporting.",
        )
    return np.ascontiguousarray(offsets.numpy())


def _lsts(name: str, form: str, offsets: np.ndarray, preset: ModelPreset) -> onnx.ModelProto:
    assert preset.lsts is not None
    shape = feature_shape(preset)
    return lsts_graph(
        form,
        offsets,
        current=_LSTS_CURRENT_INPUT[name],
        embedding_shape=(1, preset.lsts.embedding_channels, *shape[2:]),
        memory_shape=shape,
        map_cells=largest_map(preset) if preset.input.resize == "shorter-side" else None,
        normalization=preset.lsts.normalization,
        name=name,
    )


def _lsts_info(offsets: np.ndarray, preset: ModelPreset, forms: tuple[str, ...]) -> LstsInfo:
    plan = taps_within(tap_plan(offsets), *largest_map(preset))
    return LstsInfo(
        op="lsts.edge::LSTS",
        op_version=LSTS.since,
        locations=plan.locations,
        taps=plan.count,
        radius_cells=plan.radius_cells,
        forms=forms,
        default_form=forms[0],
    )


def _joined(
    name: str, steps: Sequence[Step], graphs: Graphs, state: Sequence[str]
) -> tuple[dict[str, onnx.ModelProto], Step]:
    """The joined graph in every form that one of its parts has."""
    forms = next((tuple(graphs[s.graph]) for s in steps if "default" not in graphs[s.graph]), ("default",))
    models = {}
    for form in forms:
        parts = {step.graph: graphs[step.graph].get("default") or graphs[step.graph][form] for step in steps}
        models[form], step = join(name, steps, parts, state)
    return models, step


def _graph_info(model: onnx.ModelProto, forms: dict[str, str], count: int, cost: int) -> GraphInfo:
    return GraphInfo(
        inputs=tuple(_tensor_info(value) for value in model.graph.input),
        outputs=tuple(_tensor_info(value) for value in model.graph.output),
        forms=forms,
        parameters=count,
        multiply_adds=cost,
    )


def _tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.tensor_type
    shape = tuple(size.dim_param or size.dim_value for size in kind.shape.dim)
    return TensorInfo(value.name, _DTYPES[kind.elem_type], shape)
