"""Seq-NMS stays within a sequence and keeps the image ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

from lsts_edge.boxes import Boxes
from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.evaluation.rescoring import rescored
from lsts_edge.presets import FIVE_GROUPS


@pytest.mark.parametrize("how", ["offline", "online"])
def test_each_sequence_on_its_own(tmp_path: Path, how: str) -> None:
    truth = read_annotations(write_toy_data(tmp_path, frames=3), FIVE_GROUPS)
    ids = [[record.image_id for record in records] for records in truth.sequences().values()]
    assert [len(one) for one in ids] == [3, 3]
    scores = dict(zip(ids[0] + ids[1], (0.9, 0.3, 0.6, 0.2, 0.4, 0.4), strict=True))
    box, label = np.array([[0, 0, 10, 10]], np.float32), np.zeros(1, np.int64)
    found = {image: Boxes(box, np.array([score], np.float32), label) for image, score in scores.items()}
    del found[ids[1][0]]
    got = rescored(truth, found, how)  # type: ignore[arg-type]
    assert set(got) == set(scores)
    whole = (0.6, 0.6, 0.6) if how == "offline" else (0.9, 0.6, 0.6)
    assert [float(got[image].scores[0]) for image in ids[0]] == pytest.approx(whole)
    assert len(got[ids[1][0]]) == 0
    assert [float(got[image].scores[0]) for image in ids[1][1:]] == pytest.approx((0.4, 0.4))
