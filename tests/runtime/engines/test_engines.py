"""Engines behind one interface: the one asked for or an error, and the same numbers from each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hand_made import hand_made_files
from lsts_edge.errors import OptionError, ProviderError, ProviderMissing, ProviderUnavailable
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

ENGINES = ["onnxruntime", "openvino"]


def image(seed: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (1, 64, 96, 3)).astype(np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_computes_what_it_says(engine: str) -> None:
    session = open_backend(EngineOptions(engine, threads=1)).load(hand_made_files()["heavy.onnx"], "heavy")
    found = session.run({"image": image(3)})["feature"]
    np.testing.assert_allclose(found, image(3).astype(np.float64).mean(axis=(1, 2)), rtol=1e-5)
    assert session.inputs == ("image",)
    assert "feature" in session.outputs


def test_threads_that_wait_leave_the_processor_when_a_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spinning on, they took a core from the next graph: keyframes in twice the time on two cores."""
    made: list[onnxruntime.SessionOptions] = []

    def session(model: bytes, options: onnxruntime.SessionOptions, **rest: object) -> onnxruntime.InferenceSession:
        made.append(options)
        return real(model, options, **rest)

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    open_backend().load(hand_made_files()["heavy.onnx"], "heavy")
    (options,) = made
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_belong_to_the_caller(engine: str) -> None:
    session = open_backend(EngineOptions(engine)).load(hand_made_files()["heavy.onnx"], "heavy")
    first = session.run({"image": image(1)})["feature"]
    kept = first.copy()
    session.run({"image": image(2)})
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_on_the_wrong_shape_is_one_error(engine: str) -> None:
    session = open_backend(EngineOptions(engine)).load(hand_made_files()["heavy.onnx"], "heavy")
    with pytest.raises(ProviderError, match="heavy"):
        session.run({"image": np.zeros((1, 8, 8, 3), np.uint8)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_that_is_none_is_refused(engine: str) -> None:
    with pytest.raises(ProviderError, match="does not load graph broken"):
        open_backend(EngineOptions(engine)).load(b"\x08\x0anot a model", "broken")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("torch", "cpu"), {}),
        (("onnxruntime", "gpu"), {}),
        (("openvino", "cuda"), {}),
        (("onnxruntime", "cpu"), {"threads": 0}),
        (("onnxruntime", "cpu"), {"precision": "fp16"}),
        (("openvino", "cpu"), {"precision": "int4"}),
    ],
)
def test_absurd_options_are_refused(words: tuple[str, str], options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        EngineOptions(*words, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_an_error_and_never_the_cpu(provider: str) -> None:
    wanted = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[provider]
    if wanted in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX Runtime has {wanted}")
    with pytest.raises(ProviderUnavailable, match=wanted):
        open_backend(EngineOptions("onnxruntime", provider))


def test_an_openvino_gpu_that_is_not_there_is_an_error() -> None:
    import openvino

    if any(device.startswith("GPU") for device in openvino.Core().available_devices):
        pytest.skip("this machine has an OpenVINO GPU")
    with pytest.raises(ProviderUnavailable, match="GPU"):
        open_backend(EngineOptions("openvino", "gpu"))


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_engine_the_error_says_what_to_install(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, engine, None)  # what an absent package looks like to the importer
    with pytest.raises(ProviderMissing, match=r"lsts-edge\[cpu\].*lsts-edge\[gpu\].*lsts-edge\[openvino\]"):
        open_backend(EngineOptions(engine))


def test_two_onnxruntime_packages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnxruntime", "onnxruntime_gpu"):
        metadata = tmp_path / f"{package}-1.32.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.32.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProviderMissing, match=r"onnxruntime 1\.32\.0 and onnxruntime-gpu 1\.32\.0"):
        open_backend()


@pytest.mark.parametrize(
    "ignored", [{"provider": "cuda"}, {"threads": 2}, {"precision": "bf16"}, {"cache_dir": Path("cache")}]
)
def test_options_that_an_open_engine_would_ignore_are_refused(ignored: dict[str, object]) -> None:
    engine = open_backend()
    assert open_backend(EngineOptions(engine, lsts_form="taps", joined=True)) is engine
    with pytest.raises(OptionError, match=f"{next(iter(ignored))} too"):
        EngineOptions(engine, **ignored)  # type: ignore[arg-type]


def test_engine_options_go_through_json() -> None:
    options = EngineOptions("openvino", "auto", 3, "bf16", None, "taps", False)
    assert EngineOptions(**json.loads(json.dumps(options.to_dict()))) == options
    assert EngineOptions(open_backend()).to_dict() == EngineOptions().to_dict()
