"""Networks of every kind over several sequences side by side: the same boxes as one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import write_toy_data

from lsts_edge.evaluation.annotations import read_annotations
from lsts_edge.model import random_network
from lsts_edge.presets import FIVE_GROUPS, get_preset
from lsts_edge.train.inference import run_checkpoint
from lsts_edge.variants import varied


@pytest.mark.parametrize(
    "choices", [{}, {"alignment": "flow-warp", "recurrent": True}, {"alignment": "none"}, {"light_scale": 0.5}], ids=str
)
def test_side_by_side(tmp_path: Path, choices: dict[str, object]) -> None:
    truth = read_annotations(write_toy_data(tmp_path, frames=4), FIVE_GROUPS)
    preset = varied(get_preset("lsts-tiny"), choices)
    together, alone = (
        run_checkpoint(random_network(preset, 0), truth, keyframe_interval=2, batch=batch) for batch in (2, 1)
    )
    assert set(together) == set(alone) == {image.image_id for image in truth.images}
    for image, boxes in together.items():
        assert len(boxes) > 0
        np.testing.assert_allclose(boxes.scores, alone[image].scores, atol=1e-5)
        np.testing.assert_allclose(boxes.xyxy_px, alone[image].xyxy_px, atol=0.01)
