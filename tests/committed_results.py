"""The result files in the tree: those of benchmarks, and those of wrapped detectors."""

from __future__ import annotations

from pathlib import Path

from lsts_edge.benchmarks.wrap_result import is_wrap_result

__all__ = ["BENCHMARKS", "WRAPPED"]

_ALL = sorted((Path(__file__).parents[1] / "benchmarks" / "results").glob("*.json"))
BENCHMARKS = [path for path in _ALL if not is_wrap_result(path)]
WRAPPED = [path for path in _ALL if is_wrap_result(path)]
