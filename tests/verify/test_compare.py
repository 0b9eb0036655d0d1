"""Export, compare, publish, verify: whole bundles of the small preset, with planted faults that must be seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from export_bundles import change_weight, rewrite, tiny_variants

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.cli import main
from lsts_edge.errors import BundleError, CheckFailed, FileUnwritable, OptionError
from lsts_edge.model import load_checkpoint, random_network, save_checkpoint
from lsts_edge.publish.network import load_network
from lsts_edge.publish.publish import publish
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import check_parity, parity_interval, verify_bundle
from lsts_edge.verify.golden import GOLDEN_FILE, Golden
from lsts_edge.verify.references import RecordedReference, clip_images, video_images
from lsts_edge.verify.torch_reference import TorchReference

RANDOM = {"checkpoint": "random", "preset": "lsts-tiny"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    network, weights, _ = load_network(**RANDOM)
    return publish(network, weights, tmp_path_factory.mktemp("tiny") / "bundle", forms=("taps", "gridsample")).bundle


def _live(bundle: Bundle, frames: int = 6) -> TorchReference:
    manifest = bundle.manifest
    network = random_network(manifest.preset, 0)
    images = clip_images(frames, manifest.input.height_px, manifest.input.width_px)
    return TorchReference(network, images, parity_interval(manifest, frames))


def test_a_published_bundle_says_what_was_measured(bundle: Bundle) -> None:
    parity = bundle.manifest.parity
    assert parity is not None
    assert (parity.frames, parity.unmatched, parity.form) == (30, 0, "taps")
    assert 0 < parity.max_tensor_error < 1e-5
    assert parity.boxes > 100
    assert bundle.manifest.weights.description == "random weights"
    kinds = Golden(bundle.read(GOLDEN_FILE), "inclusive").kinds
    assert [index for index, kind in enumerate(kinds) if kind == "keyframe"] == [10, 20]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_recording_matches_each_engine(bundle: Bundle, backend: str) -> None:
    report = verify_bundle(bundle, RecordedReference(bundle, 12), EngineOptions(backend), forms=("taps",))
    check_parity(report)
    assert "recorded" in report.against
    assert [(program.form, program.joined) for program in report.programs] == [("taps", False), ("taps", True)]
    split = report.programs[0].totals.tensor_errors
    assert {"feature", "high", "aligned", "task", "task_current", "task_embedding", "high_embedding"} <= set(split)


@pytest.mark.parametrize("form", ["recursion", "paper", "half", "per-frame"])
def test_every_form_of_the_model_is_published(form: str, tmp_path: Path) -> None:
    preset = tiny_variants()[form]
    weights = WeightsInfo("random", "none", "random weights", seed=1)
    published = publish(random_network(preset, 1), weights, tmp_path / "bundle", frames=9)
    assert published.bundle.manifest.light_scale == preset.light_scale
    assert published.reports[0].passed
    assert len(published.reports[0].programs) == 2  # split and joined


@pytest.mark.parametrize("live", [True, False], ids=["live", "recorded"])
@pytest.mark.parametrize(
    "graph", ["heavy", "light", "embed_key", "embed_memory", "embed_current", "aggregate_key", "aggregate_current"]
)
def test_planted_fault_a_wrong_weight_is_seen(bundle: Bundle, tmp_path: Path, graph: str, live: bool) -> None:
    wrong = rewrite(
        bundle, tmp_path / "wrong", lambda name, raw: change_weight(raw) if name == f"{graph}.onnx" else raw
    )
    reference = _live(wrong) if live else RecordedReference(wrong, 12)
    report = verify_bundle(wrong, reference, forms=("taps",), joined=(False,))
    with pytest.raises(CheckFailed, match="tensor error"):
        check_parity(report)


@pytest.mark.parametrize(
    "file", ["head.onnx", "lsts_key.taps.onnx", "lsts_current.gridsample.onnx", "keyframe.taps.onnx"]
)
def test_planted_fault_in_other_files(bundle: Bundle, tmp_path: Path, file: str) -> None:
    wrong = rewrite(bundle, tmp_path / "wrong", lambda name, raw: change_weight(raw, factor=3) if name == file else raw)
    assert not verify_bundle(wrong, RecordedReference(wrong)).passed


def test_a_wrong_export_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsts_edge.export import exporter

    network, weights, _ = load_network(**RANDOM)
    real = exporter.conv_graphs

    def wrong(given: object) -> object:
        graphs = real(given)  # type: ignore[arg-type]
        graphs["light"].ParseFromString(change_weight(graphs["light"].SerializeToString()))
        return graphs

    monkeypatch.setattr(exporter, "conv_graphs", wrong)
    with pytest.raises(CheckFailed):
        publish(network, weights, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def _succeeds(words: list[str]) -> None:
    """Run the program in this process; it leaves with status 0."""
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code in (0, None)


@pytest.fixture(scope="module")
def ir_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ir") / "bundle"
    words = "export --checkpoint random --preset lsts-tiny --lsts-form taps --lsts-form gridsample --verify-frames 6"
    _succeeds([*words.split(), "--format", "openvino", "--format", "onnx", "--output", str(path)])
    return path


def test_ir_is_published_beside_every_onnx_file(ir_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Bundle.open(ir_bundle).manifest
    names = {name.removesuffix(".onnx") for name in manifest.files if name.endswith(".onnx")}
    assert {name for name in manifest.files if name.endswith((".xml", ".bin"))} == {
        f"{name}.{suffix}" for name in names for suffix in ("xml", "bin")
    }
    assert manifest.parity is not None
    assert manifest.parity.frames == 6
    assert "onnxruntime" in manifest.parity.backend and "openvino" in manifest.parity.backend
    assert "openvino" in manifest.tools
    _succeeds(["inspect", str(ir_bundle)])
    shown = capsys.readouterr().out
    sizes = manifest.files["heavy.xml"].bytes + manifest.files["heavy.bin"].bytes
    assert "IR size" in shown and f"{sizes / 1e3:.1f} kB" in shown
    _succeeds(["verify", str(ir_bundle), "--recorded", "--backend", "openvino"])
    shown = capsys.readouterr().out
    assert "openvino, from IR, against" in shown and shown.count(": same") == 4


@pytest.mark.parametrize("file", ["heavy.bin", "lsts_current.taps.bin", "nonkeyframe.gridsample.bin"])
def test_planted_fault_wrong_weights_in_the_ir_are_seen_by_openvino_alone(
    ir_bundle: Path, tmp_path: Path, file: str
) -> None:
    def other(raw: bytes) -> bytes:
        numbers = np.frombuffer(raw[: len(raw) // 4 * 4], np.float32)
        small = np.isfinite(numbers) & (np.abs(numbers) > 1e-4) & (np.abs(numbers) < 100)
        return np.where(small, numbers * np.float32(1.5), numbers).tobytes() + raw[len(raw) // 4 * 4 :]

    wrong = rewrite(Bundle.open(ir_bundle), tmp_path / "wrong", lambda name, raw: other(raw) if name == file else raw)
    assert verify_bundle(wrong, RecordedReference(wrong)).passed
    assert not verify_bundle(wrong, RecordedReference(wrong), EngineOptions("openvino")).passed


def test_wrong_ir_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lsts_edge.export import exporter

    real = exporter.openvino_ir

    def wrong(model: bytes, name: str, **options: bool) -> tuple[bytes, bytes]:
        return real(change_weight(model, factor=3) if name == "light" else model, name, **options)

    monkeypatch.setattr(exporter, "openvino_ir", wrong)
    with pytest.raises(CheckFailed, match="openvino"):
        publish(*load_network(**RANDOM)[:2], tmp_path / "bundle", openvino=True, frames=6)
    assert list(tmp_path.iterdir()) == []


def test_ir_needs_openvino_and_says_so_before_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # what an absent package looks like to the importer
    words = "export --checkpoint random --preset lsts-tiny --format openvino --output"
    with pytest.raises(SystemExit) as left:
        main([*words.split(), str(tmp_path / "bundle")])
    assert left.value.code not in (0, None)
    told = capsys.readouterr().err
    assert "error[provider-missing]" in told and "lsts-edge[openvino]" in told
    assert "tracing" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_travels(tmp_path: Path, lsts_edge_command: object) -> None:
    """Saved, exported by the command, verified against the file; another file is refused by name."""
    preset = load_network(**RANDOM)[0].preset
    for seed, name in ((4, "mine"), (5, "other")):
        save_checkpoint(
            random_network(preset, seed), tmp_path / f"{name}.safetensors", {"licence": "CC0", "description": name}
        )
    target = tmp_path / "bundle"
    done = lsts_edge_command(  # type: ignore[operator]
        "export", "--checkpoint", tmp_path / "mine.safetensors", "--output", target, "--verify-frames", 6, "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["manifest"]["weights"]["licence"] == "CC0"
    assert result["parity"][0]["passed"] and "live" in result["parity"][0]["against"]
    assert result["bundle_digest"] == f"sha256:{Bundle.open(target).digest}"
    network, _ = load_checkpoint(tmp_path / "mine.safetensors")
    assert verify_bundle(Bundle.open(target), TorchReference(network, clip_images(3, 64, 96), 2)).passed
    done = lsts_edge_command("verify", target, "--checkpoint", tmp_path / "other.safetensors")  # type: ignore[operator]
    assert done.returncode == 7 and "error[checkpoint]" in done.stderr


def test_verify_needs_no_torch(bundle: Bundle, root: Path, tmp_path: Path) -> None:
    """In a process where torch and onnx cannot be imported, the recording is used and the output says so."""
    probe = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnx_ir', 'onnxscript', 'onnx_graphsurgeon', 'safetensors'):\n"
        "    sys.modules[name] = None\n"
        "from lsts_edge.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = [
        sys.executable,
        "-c",
        probe,
        "verify",
        str(bundle.path),
        "--recorded",
        "--frames",
        "4",
        "--lsts-form",
        "taps",
    ]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    assert "recorded at export" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("the bundle matches outputs of torch")


def test_a_failing_verify_exits_with_one(bundle: Bundle, tmp_path: Path, lsts_edge_command: object) -> None:
    wrong = rewrite(bundle, tmp_path / "wrong", lambda n, raw: change_weight(raw) if n == "heavy.onnx" else raw)
    done = lsts_edge_command("verify", wrong.path, "--recorded", "--frames", 2)  # type: ignore[operator]
    assert done.returncode == 1
    assert "DIFFERENT" in done.stdout
    assert done.stderr.startswith("error[check-failed]: parity with outputs of torch")
    assert len(done.stderr.splitlines()) == 1


def test_random_weights_are_rebuilt_and_run_live(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["verify", str(bundle.path), "--frames", "4", "--lsts-form", "taps", "--no-joined"])
    lines = capsys.readouterr().out.splitlines()
    assert left.value.code == 0
    assert "live" in lines[0] and lines[-1].startswith("the bundle matches torch") and len(lines) == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("export --checkpoint random --output {tmp}/b", "option"),
        ("export --checkpoint random --preset lsts-tiny --height 7 --output {tmp}/b", "option"),
        ("export --checkpoint random --preset lsts-tiny --seed -1 --output {tmp}/b", "option"),
        ("export --checkpoint random --preset lsts-tiny --verify-frames 0 --output {tmp}/b", "option"),
        ("export --checkpoint random --preset lsts-tiny --output {bundle}", "file-unwritable"),
        ("export --checkpoint random --preset lsts-tiny --format tflite --output {tmp}/b", "usage"),
        (
            "export --checkpoint random --preset lsts-tiny --format openvino --lsts-form custom --output {tmp}/b",
            "export",
        ),
        ("export --checkpoint {tmp}/none.safetensors --output {tmp}/b", "checkpoint"),
        ("verify {tmp}/none", "bundle"),
        ("verify {bundle} --recorded --checkpoint x", "option"),
        ("verify {bundle} --recorded --video x.mp4", "option"),
        ("verify {bundle} --recorded --frames 0", "option"),
        ("verify {bundle} --recorded --lsts-form custom", "option"),
        ("verify {bundle} --recorded --backend tvm", "option"),
    ],
)
def test_bad_input_is_one_error(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, code: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words.format(tmp=tmp_path, bundle=bundle.path).split())
    assert left.value.code not in (0, None)
    assert f"error[{code}]: " in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_another_opencv_is_told_apart_from_a_wrong_bundle(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = clip_images

    def other(*arguments: int) -> object:
        return (image ^ np.uint8(1) for image in drawn(*arguments))

    monkeypatch.setattr("lsts_edge.verify.references.clip_images", other)
    with pytest.raises(CheckFailed, match="other pixels than at export"):
        verify_bundle(bundle, RecordedReference(bundle, 2))


def test_recordings_are_read_with_care(bundle: Bundle) -> None:
    for content in (b"", b"PK\x05\x06" + bytes(18), bundle.read(GOLDEN_FILE)[:-100]):
        with pytest.raises(BundleError, match=GOLDEN_FILE):
            Golden(content, "inclusive")
    with pytest.raises(OptionError, match="frames to verify"):
        RecordedReference(bundle, 31)


def test_video_frames_are_resized_by_the_manifest(bundle: Bundle) -> None:
    from lsts_edge.runtime.sources.arrays import ArraySource

    source = ArraySource([np.full((50, 200, 3), 7, np.uint8)] * 3)
    images = list(video_images(source, bundle.manifest, 2))
    assert len(images) == 2 and images[0].shape == (1, 64, 96, 3)
    assert images[0][0, 0, 0, 0] == 7 and images[0][0, -1, -1, 0] == bundle.manifest.input.pad_value


def test_a_bundle_is_not_replaced_by_accident(bundle: Bundle) -> None:
    network, weights, _ = load_network(**RANDOM)
    with pytest.raises(FileUnwritable, match="--overwrite"):
        publish(network, weights, bundle.path)


def test_killed_exports_leave_nothing(bundle: Bundle, root: Path, tmp_path: Path) -> None:
    """SIGKILL while files are written: the next look finds no bundle, or a whole one, and writing works again."""
    script = (
        "import sys\n"
        "from lsts_edge.bundle import Bundle, write_bundle\n"
        "old = Bundle.open(sys.argv[1])\n"
        "files = {name: old.read(name) for name in old.manifest.files}\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    write_bundle(sys.argv[2], old.manifest, files, overwrite=True)\n"
    )
    target = tmp_path / "bundle"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    for delay_s in (0.0, 0.004, 0.02, 0.07):
        words = [sys.executable, "-c", script, str(bundle.path), str(target)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
        if target.exists():
            assert Bundle.open(target).manifest == bundle.manifest
