"""What an attacker can write who knows the format: bundles whose manifest and files carry correct digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hand_made import hand_made_files, hand_made_manifest
from lsts_edge.bundle.manifest import FileInfo
from lsts_edge.bundle.strict_json import canonical_json

TOP_LEVEL_NAME = b'"name":"hand-made","parity"'


def honest_data(files: dict[str, bytes]) -> dict[str, Any]:
    """The hand-made manifest as plain data, with the digests of ``files``."""
    data = json.loads(canonical_json(hand_made_manifest().to_dict()))
    data["files"] = {
        name: vars(FileInfo(hashlib.sha256(content).hexdigest(), len(content))) for name, content in files.items()
    }
    return data


def sealed(text: bytes) -> bytes:
    """Add a correct ``manifest_sha256`` to the text of a manifest."""
    seal = b'"manifest_sha256":"' + hashlib.sha256(text).hexdigest().encode() + b'",'
    place = text.find(TOP_LEVEL_NAME)
    place = place if place >= 0 else text.find(b'"name":')
    return text[:place] + seal + text[place:]


def forge(
    path: Path,
    *,
    files: dict[str, bytes] | None = None,
    change: Callable[[dict[str, Any]], Any] | None = None,
    rewrite: Callable[[bytes], bytes] | None = None,
) -> Path:
    """Write a bundle with other files, changed data or rewritten manifest text, all digests made to fit."""
    content = hand_made_files() | (files or {})
    data = honest_data(content)
    if change is not None:
        change(data)
    text = canonical_json(data)
    raw = sealed(rewrite(text) if rewrite else text)
    for name, value in content.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(value)
    (path / "manifest.json").write_bytes(raw)
    return path
