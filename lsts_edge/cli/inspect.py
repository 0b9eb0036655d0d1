"""``lsts-edge inspect``: verify every byte of a bundle and show what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.cli.group import examples, json_option, trusted_key_option
from lsts_edge.cli.limits import limit_options, limits_of, try_within, usage_line
from lsts_edge.cli.precision_table import precision_lines
from lsts_edge.runtime.engines.installed import installed_engines
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["command"]


@click.command(
    "inspect",
    short_help="Check a bundle's files and show what is in it.",
    epilog=examples(
        "lsts-edge inspect demo/bundle",
        "lsts-edge inspect demo/bundle --json",
        "lsts-edge inspect demo/bundle --expect-digest sha256:0f3c...",
    ),
)
@click.argument("bundle", type=click.Path())
@click.option("--first-run/--no-first-run", default=None, help="Run it, under limits [default: unless it is signed].")
@limit_options
@click.option("--expect-digest", metavar="SHA256", help="Refuse the bundle unless this is its digest.")
@trusted_key_option
@json_option
def command(
    bundle: str,
    first_run: bool | None,
    limit_memory: int | None,
    limit_time: float | None,
    expect_digest: str | None,
    as_json: bool,
) -> None:
    """Verify every file of BUNDLE and show its weights, licence, graphs, state, tap plan and parity.

    A bundle that no trusted key has signed is loaded and run for three frames too, in a child process that may use
    4 GB and 120 s: a small file can ask for any amount of both.
    """
    opened = Bundle.open(bundle, expect_digest=expect_digest)
    engine = next(iter(installed_engines()), None)
    tried = opened.signed_by is None if first_run is None else first_run
    usage = None
    if engine is not None and tried:
        limits = limits_of(limit_memory, limit_time, default=True)
        usage = try_within(opened, EngineOptions(engine), limits)
    if as_json:
        facts: dict[str, Any] = {"bundle_digest": f"sha256:{opened.digest}", "signed_by": opened.signed_by}
        if usage is not None:
            facts["first_run"] = {"engine": engine, **asdict(usage)}
        click.echo(json.dumps({**facts, **opened.manifest.to_dict()}, indent=2))
        return
    not_run = "no engine is installed" if tried else "not tried"
    for line in _lines(opened, not_run if usage is None else usage_line(usage, str(engine))):
        click.echo(line)


def _lines(bundle: Bundle, run: str) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"bundle      {bundle.path}"
    yield f"digest      sha256:{bundle.digest}"
    yield f"signed by   {_signers(bundle)}"
    yield f"first run   {run}"
    yield from _description(manifest)
    yield ""
    yield from _graph_table(manifest)
    if manifest.precision is not None:
        yield ""
        yield from precision_lines(manifest.precision)
    total = sum(info.bytes for info in manifest.files.values())
    yield ""
    yield f"{len(manifest.files)} files, {_bytes(total)}, all as the manifest says"


def _signers(bundle: Bundle) -> str:
    if bundle.signed_by is not None:
        return f"{bundle.signed_by}, trusted"
    return "somebody, not checked: give --trusted-key" if bundle.signature_bytes() else "nobody"


def _description(manifest: Manifest) -> Iterator[str]:
    weights, image, lsts, parity = manifest.weights, manifest.input, manifest.lsts, manifest.parity
    yield f"model       {manifest.name}, {len(manifest.classes)} classes: {_shortened(manifest.classes)}"
    seed = "" if weights.seed is None else f", seed {weights.seed}"
    yield f"weights     {weights.description} ({weights.source}{seed}{', ' + weights.file if weights.file else ''})"
    yield f"licence     {weights.licence}"
    light = f", light path at {manifest.light_scale:g} of it" if manifest.light_scale != 1 else ""
    yield f"input       {image}, {image.resize}, pad {image.pad_value}, {image.color_order}{light}"
    if lsts is None:
        yield "lsts        none"
    else:
        forms = ", ".join(form + (" (default)" if form == lsts.default_form else "") for form in lsts.forms)
        plan = f"K = {lsts.locations} locations, U = {lsts.taps} taps, radius {lsts.radius_cells} cells"
        yield f"lsts        {plan}; {lsts.op} version {lsts.op_version}; {forms}"
    state = ", ".join(f"{slot.name} {'x'.join(map(str, slot.shape))}" for slot in manifest.state)
    yield f"state       {state or 'none'}"
    if manifest.wrapped is not None:
        yield f"wrapped     {manifest.wrapped.file} ({manifest.wrapped.family}), sha256:{manifest.wrapped.sha256}"
    motion = manifest.propagation.chosen.most_motion
    sooner = "" if motion is None else f" at most, sooner once boxes have moved by {motion:g} of their size"
    yield f"keyframes   every {manifest.keyframe_interval} frames{sooner}"
    yield f"between     {', '.join(_way(name, manifest) for name in manifest.propagation.ways)}"
    detection = manifest.detection
    overlap = "no suppression" if detection.nms_iou is None else f"suppression above IoU {detection.nms_iou:g}"
    yield (
        f"boxes       at most {detection.max_detections} from score {detection.score_floor:g}, {overlap}, "
        f"corners {detection.corners}"
    )
    yield f"joined      {', '.join(manifest.joined) or 'none'}"
    if parity is None:
        yield "parity      not measured"
    else:
        against = {"own-programs": "lower precision with its recording, ", "original": "with the wrapped file, "}.get(
            parity.reference, ""
        )
        limit = f"max tensor error {parity.max_tensor_error:.1e} (at most {parity.tensor_tolerance:.0e})"
        yield (
            f"parity      {against}{limit} over {parity.frames} frames; {parity.boxes} boxes, {parity.unmatched} "
            f"unmatched, {parity.near_threshold} near a threshold; {parity.backend}, {parity.form}"
        )
    yield f"tools       {', '.join(f'{name} {version}' for name, version in sorted(manifest.tools.items()))}"


def _way(name: str, manifest: Manifest) -> str:
    way = manifest.propagation.ways[name]
    kind = "" if way.kind == name else f" ({way.kind})"
    return f"{name}{kind}{' (default)' if name == manifest.propagation.default else ''}"


def _graph_table(manifest: Manifest) -> Iterator[str]:
    programs = [*manifest.programs.values(), *manifest.joined.values()]
    in_order = dict.fromkeys([step.graph for steps in programs for step in steps] + list(manifest.graphs))
    has_ir = any(graph.ir for graph in manifest.graphs.values())
    sizes = ("size", "IR size") if has_ir else ("size",)
    rows: list[tuple[str, ...]] = [
        ("graph", "parameters", "multiply-adds", *sizes, "precision", "forms", "inputs -> outputs")
    ]
    rows.extend(_graph_row(manifest, name, has_ir) for name in in_order)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if 1 <= column <= 2 + len(sizes) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _graph_row(manifest: Manifest, name: str, has_ir: bool) -> tuple[str, ...]:
    graph = manifest.graphs[name]
    size = sum(manifest.files[file].bytes for file in graph.forms.values())
    inputs, outputs = (", ".join(tensor.name for tensor in tensors) for tensors in (graph.inputs, graph.outputs))
    ir_size = sum(manifest.ir_bytes(name, form) for form in graph.ir)
    return (
        name,
        f"{graph.parameters:,}",
        f"{graph.multiply_adds:,}",
        _bytes(size),
        *((_bytes(ir_size) if ir_size else "-",) if has_ir else ()),
        graph.precision,
        ", ".join(graph.forms),
        f"{inputs} -> {outputs}",
    )


def _bytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
