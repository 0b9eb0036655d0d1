"""``lsts-edge wrap``: what scripts hold on to."""

from __future__ import annotations

import json
from pathlib import Path

from blob_detector import blob_detector, write_blob_clip
from conftest import Run

from lsts_edge.bundle import Bundle
from lsts_edge.cli.wrap import NOT_KEPT


def test_what_is_not_kept_has_an_exit_status_and_a_bundle(lsts_edge_command: Run, tmp_path: Path) -> None:
    detector = blob_detector(tmp_path / "blob.onnx")
    clips = [write_blob_clip(tmp_path / f"{seed}.mp4", 12, seed) for seed in range(2)]
    words = ["--output", tmp_path / "out", "--intervals", "2", "--minutes", "0.01", "--cache", tmp_path / "cache"]
    words += ["--backend", "onnxruntime", "--no-record", "--threads", "1", "--json", "--budget-ms", "0.0001"]
    done = lsts_edge_command("wrap", detector, "--clips", clips[0], "--clips", clips[1], *words)
    assert done.returncode == NOT_KEPT, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("NOT KEPT: nothing that was measured keeps 0.0001 ms a frame; the bundle runs ")
    assert last.endswith(f"(exit status {NOT_KEPT}).")
    study = json.loads(done.stdout)
    assert study["met"] is False
    assert f"sha256:{Bundle.open(tmp_path / 'out').digest}" == study["bundle_digest"]
