"""The locked device set: its pins are those that the tests ran with, and the bill of materials lists the same."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

from packaging.requirements import Requirement

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: --hash=sha256:[0-9a-f]{64})+)$")


def pins(text: str) -> dict[str, str]:
    """Name -> version of a constraints file."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.lower().split("==") for line in lines if line and not line.startswith("#"))


def locked(root: Path) -> dict[str, str]:
    text = (root / "requirements-device.txt").read_text()
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    found = [_PIN.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return {match[1].lower(): match[2] for match in found if match}


def test_the_lock_pins_what_the_tests_ran_with(root: Path) -> None:
    constraints = pins((root / "constraints.txt").read_text())
    lock = locked(root)
    assert {name: constraints[name] for name in lock} == lock


def test_the_lock_is_the_base_and_one_engine(root: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    wanted = f"{setup['options']['install_requires']}\n{setup['options.extras_require']['cpu']}"
    lock = locked(root)
    for line in filter(None, map(str.strip, wanted.splitlines())):
        requirement = Requirement(line)
        assert requirement.specifier.contains(lock[requirement.name.lower()]), line
    assert not {"torch", "onnx", "openvino"} & set(lock)


def test_the_bill_of_materials_lists_the_same(root: Path) -> None:
    content = json.loads((root / "docs" / "device.cdx.json").read_text())
    assert content["bomFormat"] == "CycloneDX"
    assert {part["name"].lower(): part["version"] for part in content["components"]} == locked(root)
