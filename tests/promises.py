"""What is promised against bad input and bad luck, which tests attack it, and the table of what a run of them found.

As a pytest plugin (``-p promises --promises-output FILE``) it counts attacks: a test that passed is one, or as many as
it records under ``attacks``. ``python tests/promises.py RESULT.json DOCUMENT.md`` writes the table into the document.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from lsts_edge.benchmarks.envelope import Origin

__all__ = ["BEGIN", "END", "PROMISES", "Promise", "is_one_of", "table"]

BEGIN, END = "<!-- promises:begin -->", "<!-- promises:end -->"


@dataclass(frozen=True)
class Promise:
    """A row: its text, the tests that attack it (patterns of their names), those that plant a fault to be caught."""

    row: int
    text: str
    attacks: tuple[str, ...]
    planted: tuple[str, ...] = ()


PROMISES = (
    Promise(
        1,
        "a changed byte anywhere in a bundle is refused before an engine sees it",
        (
            "tests/attacks/test_flipped_bytes.py::test_*flips*",
            "tests/attacks/test_flipped_bytes.py::test_every_byte*",
            "tests/attacks/test_flipped_bytes.py::test_the_program*",
            "tests/attacks/test_hostile_ir.py::test_a_flipped_bit*",
            "tests/bundle/test_signatures.py::test_every_bit*",
        ),
        ("tests/attacks/test_flipped_bytes.py::test_planted*",),
    ),
    Promise(
        2,
        "a missing, cut, longer, renamed, linked or added file is refused by name",
        (
            "tests/attacks/test_files.py::test_[!p]*",
            "tests/attacks/test_hostile_ir.py::test_a_missing*",
            "tests/bundle/test_signatures.py::test_hostile*",
        ),
        ("tests/attacks/test_files.py::test_planted*",),
    ),
    Promise(
        3,
        "a hostile manifest is refused without hanging, within 64 MB",
        ("tests/attacks/test_manifest.py::test_refused*",),
        ("tests/attacks/test_manifest.py::test_planted*",),
    ),
    Promise(
        4,
        "nothing outside the bundle is read",
        ("tests/attacks/test_external_data.py::test_refused*", "tests/attacks/test_hostile_ir.py::test_refused*"),
        ("tests/attacks/test_external_data.py::test_planted*", "tests/attacks/test_hostile_ir.py::test_planted*"),
    ),
    Promise(
        5,
        "a bundle never brings code",
        (
            "tests/attacks/test_no_code.py::test_listed*",
            "tests/attacks/test_no_code.py::test_named*",
            "tests/attacks/test_no_code.py::test_beside*",
            "tests/attacks/test_no_code.py::test_where*",
            "tests/attacks/test_no_code.py::test_put*",
            "tests/attacks/test_no_code.py::test_a_pickle*",
        ),
        ("tests/attacks/test_no_code.py::test_planted*",),
    ),
    Promise(
        6,
        "a wrong op library is named and not opened",
        (
            "tests/custom_ops/test_finder.py::test_other_specs*",
            "tests/custom_ops/test_finder.py::test_*told*",
            "tests/custom_ops/test_finder.py::test_*refused*",
        ),
        ("tests/custom_ops/test_finder.py::test_a_sound_stub*",),
    ),
    Promise(
        7,
        "a checkpoint runs no code",
        ("tests/model/test_checkpoint.py::test_no_torch_file_runs_code*",),
        ("tests/model/test_checkpoint.py::test_the_canary_would_sing",),
    ),
    Promise(
        8,
        "a bad checkpoint is refused once, with everything that is wrong",
        (
            "tests/model/test_checkpoint.py::test_everything_wrong*",
            "tests/model/test_checkpoint.py::test_a_refused_state*",
            "tests/model/test_checkpoint.py::test_unreadable*",
        ),
    ),
    Promise(
        9,
        "a small file that asks for much is refused: by its bytes, or by limits in a child",
        ("tests/attacks/test_small_bombs.py::test_refused*", "tests/runtime/test_bundle_trial.py::test_a_hungry*"),
        (
            "tests/attacks/test_small_bombs.py::test_planted*",
            "tests/runtime/test_bundle_trial.py::test_the_planted*",
        ),
    ),
    Promise(
        10,
        "kill -9 leaves the old bundle or the new one",
        ("tests/attacks/test_killed_writer.py::test_killed*", "tests/verify/test_compare.py::test_killed*"),
        ("tests/attacks/test_killed_writer.py::test_planted*",),
    ),
    Promise(
        11,
        "a full or forbidden disk leaves no bundle and one error",
        ("tests/attacks/test_full_disk.py::test_*", "tests/bundle/test_signatures.py::test_a_signature_that_cannot*"),
    ),
    Promise(
        12,
        "what differs from torch is not published",
        (
            "tests/verify/test_compare.py::test_planted_fault*",
            "tests/verify/test_planted_faults.py::test_planted_fault*",
            "tests/verify/test_compare.py::test_a_wrong_export*",
            "tests/verify/test_compare.py::test_wrong_ir*",
        ),
        (
            "tests/verify/test_compare.py::test_the_recording_matches*",
            "tests/verify/test_planted_faults.py::test_the_right_one*",
        ),
    ),
    Promise(
        13,
        "every kernel equals the float64 reference at awkward sizes and leaves its neighbours alone",
        (
            "tests/custom_ops/test_kernels.py::test_awkward*",
            "tests/custom_ops/test_driver.py::test_no_sanitizer*",
            "tests/custom_ops/test_driver.py::test_neon*",
        ),
        (
            "tests/custom_ops/test_kernels.py::test_a_wrong_result*",
            "tests/custom_ops/test_driver.py::test_a_planted*",
        ),
    ),
    Promise(
        14,
        "offsets that are not finite, or huge, mean the same on every kernel",
        (
            "tests/custom_ops/test_kernels.py::test_hostile_offsets*",
            "tests/custom_ops/test_kernels.py::test_infinite*",
            "tests/custom_ops/test_kernels.py::test_a_bad_cell*",
        ),
    ),
    Promise(
        30,
        "every failure has a code and one line; the device side imports nothing of the workstation",
        (
            "tests/test_errors.py::test_*",
            "tests/meta/test_boundaries.py::test_importing*",
            "tests/meta/test_bare_device.py::test_*",
        ),
        ("tests/meta/test_boundaries.py::test_planted*",),
    ),
)
"""Rows 15 to 29 are about a running stream: ``tests/faults``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises-output", type=Path, help="write the count of attacks here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only tests of some promise run."""
    patterns = [pattern for promise in PROMISES for pattern in (*promise.attacks, *promise.planted)]
    items[:] = [item for item in items if is_one_of(item.nodeid, patterns)]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        count = dict(report.user_properties).get("attacks", 1)
        _REPORTS[report.nodeid] = (report.outcome, int(str(count)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--promises-output")
    if path is not None:
        rows = [_row(promise) for promise in PROMISES]
        content = {"origin": asdict(Origin.here()), "rows": rows}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


_REPORTS: dict[str, tuple[str, int]] = {}


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether a test, whatever its parameters, is named by one of the patterns."""
    plain = name.partition("[")[0]
    return any(fnmatchcase(plain, pattern) for pattern in patterns)


def _row(promise: Promise) -> dict[str, Any]:
    attacks = [found for name, found in _REPORTS.items() if is_one_of(name, promise.attacks)]
    planted = [found for name, found in _REPORTS.items() if is_one_of(name, promise.planted)]
    return {
        "row": promise.row,
        "promise": promise.text,
        "attacks": sum(count for outcome, count in attacks if outcome != "skipped"),
        "held": sum(count for outcome, count in attacks if outcome == "passed"),
        "planted": sum(count for outcome, count in planted if outcome != "skipped"),
        "caught": sum(count for outcome, count in planted if outcome == "passed"),
        "not_run": sorted(
            name for name, (end, _) in _REPORTS.items() if end == "skipped" and is_one_of(name, promise.attacks)
        ),
    }


def table(result: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = ["| row | promise | attacks held | planted faults caught | not run |", "|---:|---|---:|---:|---|"]
    for row in result["rows"]:
        planted = f"{row['caught']} of {row['planted']}" if row["planted"] else ""
        missing = ", ".join(name.rpartition("::")[2] for name in row["not_run"])
        held = f"{row['held']:,} of {row['attacks']:,}"
        lines.append(f"| {row['row']} | {row['promise']} | {held} | {planted} | {missing} |")
    return "\n".join(lines)


def main() -> None:
    """Write the table of a result into a document."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("document", type=Path)
    words = parser.parse_args()
    text = words.document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = table(json.loads(words.result.read_text(encoding="utf-8")))
    words.document.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
