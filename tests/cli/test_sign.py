"""``lsts-edge sign`` and ``--trusted-key``: a device that refuses what its maker has not signed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from signing_keys import make_key

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_sign_then_inspect(lsts_edge_command: Run, hand_made_bundle: Path, tmp_path: Path) -> None:
    private, public = make_key(tmp_path, "maker", 1)
    refused = lsts_edge_command("inspect", hand_made_bundle, "--trusted-key", public)
    assert refused.returncode == 3 and refused.stderr.startswith("error[bundle-signature]")
    signed = lsts_edge_command("sign", hand_made_bundle, "--key", private, "--json")
    assert signed.returncode == 0, signed.stderr
    key = json.loads(signed.stdout)["signed_by"]
    told = lsts_edge_command("inspect", hand_made_bundle, "--trusted-key", public, "--json")
    assert json.loads(told.stdout)["signed_by"] == key
    assert "not checked: give --trusted-key" in lsts_edge_command("inspect", hand_made_bundle).stdout


def test_a_device_with_a_policy_runs_nothing_unsigned(
    lsts_edge_command: Run, hand_made_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, public = make_key(tmp_path, "maker", 1)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"schema": 1, "trusted_keys": [public.name]}))
    monkeypatch.setenv("LSTS_EDGE_POLICY", str(policy))
    for command in (("run", hand_made_bundle, "clip.mp4"), ("run", "clip.mp4"), ("verify", hand_made_bundle)):
        refused = lsts_edge_command(*command)
        assert refused.returncode == 3 and refused.stderr.startswith("error[bundle-signature]"), refused.stderr


def test_every_command_that_takes_a_bundle_takes_keys(root: Path) -> None:
    """The demo makes or brings its own bundles, and wrap and train open none."""
    sources = {path: path.read_text() for path in (root / "lsts_edge" / "cli").rglob("*.py")}
    opening = {path.name for path, text in sources.items() if "Bundle.open(" in text} | {"elsewhere.py", "doctor.py"}
    asking = {path.name for path, text in sources.items() if "@trusted_key_option" in text}
    assert opening - {"demo.py", "demo_network.py"} <= asking


def test_openssl_makes_keys_that_sign(lsts_edge_command: Run, hand_made_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    assert lsts_edge_command("sign", hand_made_bundle, "--key", private).returncode == 0
    assert lsts_edge_command("inspect", hand_made_bundle, "--trusted-key", public).returncode == 0
