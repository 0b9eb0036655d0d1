"""The op inside ONNX Runtime and OpenVINO: forms agree, both outputs, shape inference, exact error texts, sessions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from op_cases import OpCase, make_case

from lsts_edge.custom_ops import cpu_kernels, library_path
from lsts_edge.errors import OpLibraryMissing
from lsts_edge.export.lsts_graph import lsts_graph
from lsts_edge.opspec import LSTS
from lsts_edge.presets import get_preset, preset_names

try:
    LIBRARY = library_path(ort_version=onnxruntime.__version__)
except OpLibraryMissing as missing:
    pytest.skip(f"no op library in this install: {missing.got}", allow_module_level=True)

INPUTS = ("memory_embedding", "current_embedding", "memory_feature")
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


def model_of(
    case: OpCase,
    *,
    shapes: list[Any] | None = None,
    dtypes: tuple[str, ...] | None = None,
    constant: bool = True,
    outputs: tuple[str, ...] = ("aligned", "peak"),
    offsets: np.ndarray | None = None,
    **attributes: Any,
) -> bytes:
    """A graph with the one node, every part of which can be made wrong."""
    maps = (case.memory_embedding, case.current_embedding, case.memory_feature)
    shapes = shapes or [a.shape for a in maps]
    dtypes = dtypes or tuple(a.dtype.name for a in maps)
    inputs = [
        helper.make_tensor_value_info(name, TYPES[dtype], shape)
        for name, dtype, shape in zip(INPUTS, dtypes, shapes, strict=True)
    ]
    table = numpy_helper.from_array(case.offsets if offsets is None else offsets, "offsets")
    if not constant:
        inputs.append(helper.make_tensor_value_info("offsets", TensorProto.FLOAT, case.offsets.shape))
    results = [helper.make_tensor_value_info("aligned", TYPES[dtypes[2]], None)]
    if "peak" in outputs:
        results.append(helper.make_tensor_value_info("peak", TensorProto.FLOAT, None))
    node = helper.make_node(LSTS.name, [*INPUTS, "offsets"], list(outputs), domain=LSTS.domain, **attributes)
    graph = helper.make_graph([node], "one", inputs, results, [table] if constant else [])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(LSTS.domain, LSTS.since)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def session_of(model: bytes, threads: int = 2) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.register_custom_ops_library(str(LIBRARY))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds_of(case: OpCase) -> dict[str, np.ndarray]:
    return dict(zip(INPUTS, (case.memory_embedding, case.current_embedding, case.memory_feature), strict=True))


@pytest.fixture(scope="module")
def case() -> OpCase:
    return make_case("small", (2, 9, 20, 13, 11), np.random.RandomState(0).randn(9, 2).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("normalization", ["softmax", "linear"])
def test_both_outputs_equal_the_reference(dtype: str, normalization: str) -> None:
    offsets = np.random.RandomState(1).randn(40, 2).astype(np.float32)
    case = make_case("both", (2, 17, 70, 13, 38), offsets, dtype, normalization)
    aligned, peak = session_of(model_of(case, normalization=normalization)).run(None, feeds_of(case))
    assert case.failure(aligned, peak) is None
    assert peak.dtype == np.float32


def test_softmax_is_the_default_and_peak_may_be_left_out(case: OpCase) -> None:
    (aligned,) = session_of(model_of(case, outputs=("aligned",))).run(None, feeds_of(case))
    assert case.failure(aligned) is None
    aligned, peak = session_of(model_of(case)).run(None, feeds_of(case))
    assert case.failure(aligned, peak) is None


@pytest.mark.parametrize("name", [name for name in preset_names() if get_preset(name).lsts is not None])
def test_forms_agree_on_every_preset(name: str) -> None:
    """taps, custom and gridsample in ONNX Runtime, taps and custom in OpenVINO; r101 on a smaller map."""
    import openvino

    from lsts_edge.custom_ops.openvino_op import openvino_extension
    from lsts_edge.model.lsts import initial_offsets

    preset = get_preset(name)
    assert preset.lsts is not None
    height, width = (min(side // 16, 12) for side in (preset.input.height_px, preset.input.width_px))
    shape = (1, preset.lsts.embedding_channels, preset.backbone.feature_channels, height, width)
    case = make_case(name, shape, initial_offsets(preset.lsts).numpy())
    feeds = feeds_of(case)
    feeds["memory"] = feeds.pop("memory_feature")
    core = openvino.Core()
    extension = openvino_extension(threads=2)
    core.add_extension(extension)
    for form in ("taps", "custom", "gridsample"):
        model = lsts_graph(
            form,
            case.offsets,
            current="current_embedding",
            embedding_shape=case.memory_embedding.shape,
            memory_shape=case.memory_feature.shape,
            normalization=preset.lsts.normalization,
        ).SerializeToString()
        assert case.failure(session_of(model).run(None, feeds)[0]) is None, f"{form} in ONNX Runtime"
        if form != "gridsample":
            compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            out = compiled(feeds, share_inputs=False)[0]
            assert case.failure(np.array(out)) is None, f"{form} in OpenVINO"


def test_threads_of_the_session_do_not_change_a_bit(case: OpCase) -> None:
    model = model_of(case)
    results = {session_of(model, threads).run(None, feeds_of(case))[0].tobytes() for threads in range(1, 9)}
    assert len(results) == 1


def test_open_sizes_are_passed_on_by_name(case: OpCase) -> None:
    """Names are kept, a size without a name stays open, the second output's shape is left to the run; nothing warns."""
    named = [("N", 9, "H", "W"), ("N", 9, "H", "W"), ("N", 20, "H", "W")]
    session = session_of(model_of(case, shapes=named))
    assert [list(out.shape) for out in session.get_outputs()] == [["N", 20, "H", "W"], []]
    assert case.failure(*session.run(None, feeds_of(case))) is None
    larger = make_case("larger", (1, 9, 20, 17, 5), case.offsets)
    assert larger.failure(*session.run(None, feeds_of(larger))) is None
    unnamed = session_of(model_of(case, shapes=[(None, 9, None, None), (None, 9, None, None), (None, 20, None, None)]))
    assert case.failure(*unnamed.run(None, feeds_of(case))) is None
    fixed = session_of(model_of(case))
    assert [list(out.shape) for out in fixed.get_outputs()] == [[2, 20, 13, 11], []]


def test_empty_batch(case: OpCase) -> None:
    session = session_of(model_of(case, shapes=[("N", 9, 13, 11), ("N", 9, 13, 11), ("N", 20, 13, 11)]))
    feeds = {name: value[:0] for name, value in feeds_of(case).items()}
    aligned, peak = session.run(None, feeds)
    assert aligned.shape == (0, 20, 13, 11) and peak.shape == (0, 1, 13, 11)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalization": "sigmoid"}, "normalization: got 'sigmoid', expected the string softmax or linear"),
        ({"normalization": "s" * 100}, "normalization: got another value or type"),
        ({"normalization": 1}, "normalization: got another value or type"),
        ({"normalization": 0.5}, "normalization: got another value or type"),
        ({"constant": False}, "offsets (input 3): got a value computed at run time, expected a constant initializer"),
        ({"offsets": np.zeros((3, 3), np.float32)}, "offsets (input 3): got element type 1 and shape (3, 3)"),
        ({"offsets": np.zeros(6, np.float32)}, "offsets (input 3): got element type 1 and shape (6)"),
        ({"offsets": np.zeros((0, 2), np.float32)}, "got 0 offsets, expected 1 to 4096"),
    ],
)
def test_a_wrong_node_is_refused_when_the_session_is_made(case: OpCase, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception) as caught:  # the engine's exceptions share no base class
        session_of(model_of(case, **changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "dtypes", [("float64",) * 3, ("float32", "float32", "float16"), ("float16", "float32", "float32")]
)
def test_wrong_and_mixed_types_find_no_kernel(case: OpCase, dtypes: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match="LSTS"):
        session_of(model_of(case, dtypes=dtypes))


def test_wrong_shapes_are_refused_at_run_time(case: OpCase) -> None:
    open_shapes = [("A", "B", "C", "D"), ("E", "F", "G", "I"), ("J", "K", "L", "M")]
    session = session_of(model_of(case, shapes=open_shapes))
    sound = feeds_of(case)
    for name, value in (
        ("current_embedding", sound["current_embedding"][:1]),
        ("current_embedding", sound["current_embedding"][:, :1]),
        ("memory_feature", sound["memory_feature"][:, :, :12]),
        ("memory_embedding", sound["memory_embedding"][..., :3]),
    ):
        with pytest.raises(Exception, match="inputs do not fit each other: got memory_embedding") as caught:
            session.run(None, {**sound, name: np.ascontiguousarray(value)})
        assert "expected (N, E, H, W), (N, E, H, W), (N, C, H, W), (9, 2)" in str(caught.value)
    assert case.failure(*session.run(None, sound)) is None, "the session works after an error"


def test_wrong_ranks_are_refused_at_run_time(case: OpCase) -> None:
    feeds = {name: value[0] for name, value in feeds_of(case).items()}
    session = session_of(model_of(case, shapes=[value.shape for value in feeds.values()]))
    with pytest.raises(Exception, match=r"got memory_embedding \(9, 13, 11\)"):
        session.run(None, feeds)


def test_ranks_unknown_until_run_time(case: OpCase) -> None:
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in INPUTS]
    model = onnx.load_from_string(model_of(case))
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    session = session_of(model.SerializeToString())
    assert case.failure(*session.run(None, feeds_of(case))) is None
    with pytest.raises(Exception, match="inputs do not fit each other"):
        session.run(None, {name: value[0] for name, value in feeds_of(case).items()})


def test_concurrent_sessions_and_runs(case: OpCase) -> None:
    model = model_of(case)
    shared = session_of(model)
    expected = shared.run(None, feeds_of(case))[0].tobytes()
    different: list[str] = []

    def work() -> None:
        own = session_of(model, threads=2)
        for session in (own, shared) * 15:
            if session.run(None, feeds_of(case))[0].tobytes() != expected:
                different.append("other bits")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not different


def test_openvino_refuses_offsets_that_are_no_constant(case: OpCase) -> None:
    import openvino

    from lsts_edge.custom_ops.openvino_op import openvino_extension

    core = openvino.Core()
    extension = openvino_extension(threads=1)
    core.add_extension(extension)
    with pytest.raises(Exception, match="expected a constant"):
        core.read_model(model_of(case, constant=False, outputs=("aligned",)))


PROBE = """
import json, sys, numpy, onnxruntime
library, model, data = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(library)
try:
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
except Exception as error:
    print(json.dumps({"error": str(error)}))
else:
    feeds = dict(numpy.load(data))
    expected = {name: feeds.pop(name) for name in ("aligned", "peak")}
    got = dict(zip(("aligned", "peak"), session.run(None, feeds)))
    error = {name: float(numpy.abs(got[name] - expected[name]).max()) for name in expected}
    print(json.dumps({"version": onnxruntime.__version__, "error_max": max(error.values())}))
"""


def probe(
    python: str | Path, case: OpCase, folder: Path, model: bytes, **environment: str
) -> tuple[dict[str, Any], str]:
    """Run a session in another process; what it printed, and what it wrote to stderr."""
    np.savez(folder / "data.npz", **feeds_of(case), aligned=case.aligned, peak=case.peak)
    (folder / "model.onnx").write_bytes(model)
    words = [str(python), "-c", PROBE, str(LIBRARY), str(folder / "model.onnx"), str(folder / "data.npz")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("kernel", cpu_kernels())
def test_a_kernel_can_be_chosen_and_nothing_warns(case: OpCase, tmp_path: Path, kernel: str) -> None:
    open_shapes = [("N", 9, None, "W"), ("N", 9, None, "W"), ("N", 20, None, "W")]
    told, warnings = probe(sys.executable, case, tmp_path, model_of(case, shapes=open_shapes), LSTS_OPS_KERNEL=kernel)
    assert told["error_max"] <= case.allowed.max()
    assert warnings == ""


def test_an_unknown_kernel_is_refused(case: OpCase, tmp_path: Path) -> None:
    told, _ = probe(sys.executable, case, tmp_path, model_of(case), LSTS_OPS_KERNEL="sse9")
    assert "LSTS_OPS_KERNEL: got sse9, expected a kernel of this CPU" in told["error"]
