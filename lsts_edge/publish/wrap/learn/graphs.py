"""What was learnt as ONNX graphs, and the programs that run them around the frozen ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import torch
from torch import nn

from lsts_edge.bundle.graphs import GraphInfo, LstsInfo, StateInfo, TensorInfo
from lsts_edge.bundle.manifest import Step
from lsts_edge.bundle.programs import Programs
from lsts_edge.errors import ExportError
from lsts_edge.export.detectors.count import count_graph
from lsts_edge.export.finished import OPSET, finished
from lsts_edge.export.lsts_graph import lsts_graph, taps_within
from lsts_edge.export.quiet import quiet
from lsts_edge.opspec import LSTS
from lsts_edge.publish.wrap.learn.frozen import Frozen
from lsts_edge.publish.wrap.learn.learn import Learnt
from lsts_edge.publish.wrap.learn.network import LearntPropagation
from lsts_edge.taps import tap_plan

__all__ = ["FORMS", "LearntGraphs", "learnt_graphs"]

FORMS = ("taps", "custom")
_DETECTIONS = {"boxes": "boxes", "scores": "scores", "labels": "labels"}
_DTYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT64: "int64"}


@dataclass(frozen=True)
class LearntGraphs:
    """A bundle's part that runs the learnt way.

    Attributes:
        files: name to content.
        graphs: for the manifest.
        state: slots that live from frame to frame.
        features: those of them that are maps.
        programs: by kind of frame; ``first`` runs the detector as it is, and remembers.
        lsts: for the manifest.
    """

    files: Mapping[str, bytes]
    graphs: Mapping[str, GraphInfo]
    state: tuple[StateInfo, ...]
    features: tuple[str, ...]
    programs: Programs
    lsts: LstsInfo


def learnt_graphs(learnt: Learnt, default_form: Literal["taps", "custom"]) -> LearntGraphs:
    """Write all graphs.

    Args:
        learnt: the frozen graphs and the trained network.
        default_form: of LSTS.

    Raises:
        ExportError: if torch cannot express a layer in ONNX.
    """
    frozen, network = learnt.frozen, learnt.network
    models: dict[str, dict[str, onnx.ModelProto]] = {
        name: {"default": model} for name, model in {**frozen.graphs, **_traced(frozen, network)}.items()
    }
    sizes = frozen.layout.grids()
    plans = []
    for level, size in enumerate(sizes):
        offsets = network.offsets[level].detach().numpy()
        plans.append(taps_within(tap_plan(offsets), *size))
        compared, carried = (1, _out(network.embeddings[level]), *size), (1, frozen.layout.width, *size)
        models[f"lsts_{level}"] = {
            form: lsts_graph(form, offsets, current="now", embedding_shape=compared, memory_shape=carried)
            for form in FORMS
        }
    files: dict[str, bytes] = {}
    graphs: dict[str, GraphInfo] = {}
    for name, forms in models.items():
        names = {form: f"{name}.onnx" if form == "default" else f"{name}.{form}.onnx" for form in forms}
        files |= {names[form]: model.SerializeToString(deterministic=True) for form, model in forms.items()}
        graphs[name] = _info(next(iter(forms.values())), names)
    levels = range(len(sizes))
    maps, embeddings = [f"memory_{level}" for level in levels], [f"embedding_{level}" for level in levels]
    outputs = {tensor.name: tensor for tensor in graphs["aggregate"].outputs}
    lsts = LstsInfo(
        op="lsts.edge::LSTS",
        op_version=LSTS.since,
        locations=plans[0].locations,
        taps=max(plan.count for plan in plans),
        radius_cells=max(plan.radius_cells for plan in plans),
        forms=FORMS,
        default_form=default_form,
    )
    return LearntGraphs(
        files,
        graphs,
        tuple(StateInfo(slot, "float32", outputs[slot].shape) for slot in (*maps, *embeddings)),
        tuple(maps),
        _programs(frozen),
        lsts,
    )


def _programs(frozen: Frozen) -> Programs:
    levels = range(len(frozen.layout.spec.strides))
    features = [tap.slot for tap in frozen.taps]
    light = [f"light_{level}" for level in levels]

    def each(*names: str, **renamed: str) -> dict[str, str]:
        """``name_0`` bound to the slot of that name, or of the other one; of every level."""
        pairs = {**{name: name for name in names}, **renamed}
        return {f"{name}_{level}": f"{slot}_{level}" for name, slot in pairs.items() for level in levels}

    look = Step("light", {"image": "image"}, {name: name for name in (*light, *features)})
    seen = {name: name for name in (*features, *light)}
    head = Step("head", {"table": "table"}, dict(_DETECTIONS))
    full = (
        Step("heavy", {"image": "image"}, {"table": "table"}),
        Step("remember", {"table": "table"}, each(map="memory")),
        look,
        Step("transform", seen, each(now="embedding")),
        head,
    )
    aligned = [
        Step(
            f"lsts_{level}",
            {"memory": f"memory_{level}", "memory_embedding": f"embedding_{level}", "now": f"now_{level}"},
            {"aligned": f"aligned_{level}"},
        )
        for level in levels
    ]
    joined = {**each("transformed", "aligned", "now"), **{name: name for name in light[:-1]}}
    propagated = (
        look,
        Step("transform", seen, each("transformed", "now")),
        *aligned,
        Step("aggregate", joined, {**each("memory", "embedding"), "table": "table"}),
        head,
    )
    return {"first": full, "keyframe": full, "propagated": propagated}


class _Read(nn.Module):
    def __init__(self, network: LearntPropagation, features: int) -> None:
        super().__init__()
        self.network, self.features = network, features

    def forward(self, *seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        transformed, embedded = self.network.read(list(seen[: self.features]), list(seen[self.features :]))
        return (*transformed, *embedded)


class _Join(nn.Module):
    """The maps, the embeddings again, to be carried, and the table."""

    def __init__(self, network: LearntPropagation, frozen: Frozen) -> None:
        super().__init__()
        self.network, self.layout = network, frozen.layout
        self.shift = nn.Parameter(torch.tensor(frozen.layout.shift), requires_grad=False)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = self.network.levels
        transformed, aligned, now = (list(given[at * levels : (at + 1) * levels]) for at in range(3))
        maps = self.network.join(transformed, aligned, list(given[3 * levels :]))
        table = torch.cat([one.flatten(2)[0].T for one in maps]) - self.shift
        if self.layout.spec.score_form == "probability":
            first = self.layout.box_numbers
            table = torch.cat((table[:, :first], table[:, first:].sigmoid()), dim=1)
        return (*maps, *(value.clone() for value in now), table)


def _traced(frozen: Frozen, network: LearntPropagation) -> dict[str, onnx.ModelProto]:
    layout = frozen.layout
    grids, levels = layout.grids(), range(network.levels)
    features = [torch.zeros(1, *tap.shape) for tap in frozen.taps]
    light = [torch.zeros(1, layout.width, *size) for size in layout.grids(0.5)]
    with torch.no_grad():
        transformed, now = network.read(features, light)
    aligned = [torch.zeros(1, layout.width, *size) for size in grids]
    slots = [tap.slot for tap in frozen.taps]
    names = [f"light_{level}" for level in levels]
    return {
        "transform": _exported(
            "transform",
            _Read(network, len(features)),
            dict(zip([*slots, *names], [*features, *light], strict=True)),
            [*_each("transformed", levels), *_each("now", levels)],
        ),
        "aggregate": _exported(
            "aggregate",
            _Join(network, frozen),
            dict(
                zip(
                    [*_each("transformed", levels), *_each("aligned", levels), *_each("now", levels), *names[:-1]],
                    [*transformed, *aligned, *now, *light[:-1]],
                    strict=True,
                )
            ),
            [*_each("memory", levels), *_each("embedding", levels), "table"],
        ),
    }


def _each(name: str, levels: range) -> list[str]:
    return [f"{name}_{level}" for level in levels]


def _exported(
    name: str, module: nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str]
) -> onnx.ModelProto:
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
                optimize=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            f"torch cannot write {name} as ONNX",
            got=re.sub(r"\s+", " ", str(error.__cause__ or error))[:300],
            expected=f"layers that opset {OPSET} has",
            fix="Report this as a bug.",
        ) from error
    assert program is not None
    model = program.model_proto
    model.graph.name = name
    return finished(model)


def _info(model: onnx.ModelProto, names: Mapping[str, str]) -> GraphInfo:
    parameters, multiply_adds = count_graph(model)
    inputs, outputs = (tuple(map(_tensor, values)) for values in (model.graph.input, model.graph.output))
    return GraphInfo(inputs, outputs, dict(names), parameters, multiply_adds)


def _tensor(info: Any) -> TensorInfo:
    kind = info.type.tensor_type
    shape = tuple(axis.dim_value or axis.dim_param for axis in kind.shape.dim)
    return TensorInfo(info.name, _DTYPES[kind.elem_type], shape)  # type: ignore[arg-type]


def _out(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Conv2d)
    return layer.out_channels
