"""Results are there whole or not at all, strangers are no results, and a fresh start forgets the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsts_edge.errors import FileUnwritable
from lsts_edge.publish.wrap.cache import Cache

KEY = {"what": "test", "frames": [0, 12]}


def test_results_are_kept_by_key(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "cache")
    assert cache.arrays(KEY) is None and cache.plain(KEY) is None
    cache.keep_arrays(KEY, {"a": np.arange(3)})
    cache.keep_plain({**KEY, "frames": [12, 24]}, [1, {"b": 2.5}])
    again = Cache(tmp_path / "deep" / "cache")
    found = again.arrays(KEY)
    assert found is not None and found["a"].tolist() == [0, 1, 2]
    assert again.plain({**KEY, "frames": [12, 24]}) == [1, {"b": 2.5}]
    assert again.plain(KEY) is None and again.arrays({**KEY, "frames": [12, 24]}) is None  # of the other kind
    assert len(list(again.folder.iterdir())) == 2


def test_a_fresh_start_knows_only_its_own(tmp_path: Path) -> None:
    Cache(tmp_path).keep_plain(KEY, 1)
    fresh = Cache(tmp_path, fresh=True)
    assert fresh.plain(KEY) is None
    fresh.keep_plain(KEY, 2)
    assert fresh.plain(KEY) == 2


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileUnwritable, match="--cache"):
        Cache(tmp_path / "file").keep_plain(KEY, 1)
