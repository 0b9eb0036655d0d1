"""Seq-NMS against every path written out, by hand on a small table, and online."""

from __future__ import annotations

import numpy as np
import pytest

from lsts_edge.boxes import Boxes
from lsts_edge.errors import OptionError
from lsts_edge.evaluation.seq_nms import OnlineSeqNms, SeqNmsOptions, seq_nms


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    """x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


def random_video(seed: int, frames: int, most: int, labels: int = 2) -> list[Boxes]:
    random = np.random.RandomState(seed)
    video = []
    for _ in range(frames):
        count = random.randint(0, most + 1)
        low = random.randint(0, 3, (count, 2)) * 4.0
        size = random.randint(2, 4, (count, 2)) * 5.0
        scores = random.uniform(0.05, 1, count).astype(np.float32)
        rows = np.concatenate((low, low + size), axis=1).astype(np.float32)
        video.append(Boxes(rows, scores, random.randint(0, labels, count)))
    return video


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    inter = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return inter / (sum(areas) - inter)


def written_out(video: list[Boxes], link: float, suppress: float) -> list[dict[int, float]]:
    """Every path of every length, again and again: new score by index, for each frame."""
    left = [set(range(len(frame))) for frame in video]
    found: list[dict[int, float]] = [{} for _ in video]

    def grow(path: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
        frame, index = path[-1]
        longer = [path]
        if frame + 1 < len(video):
            for other in sorted(left[frame + 1]):
                same = video[frame].labels[index] == video[frame + 1].labels[other]
                if same and _iou(video[frame].xyxy_px[index], video[frame + 1].xyxy_px[other]) >= link:
                    longer += grow([*path, (frame + 1, other)])
        return longer

    while any(left):
        paths = [
            path for frame in range(len(video)) for index in sorted(left[frame]) for path in grow([(frame, index)])
        ]
        sums = [sum(float(video[f].scores[i]) for f, i in path) for path in paths]
        best = paths[int(np.argmax(sums))]
        mean = max(sums) / len(best)
        for frame, index in best:
            found[frame][index] = mean
            rows, labels = video[frame].xyxy_px, video[frame].labels
            gone = {i for i in left[frame] if labels[i] == labels[index] and _iou(rows[i], rows[index]) >= suppress}
            left[frame] -= gone | {index}
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("link", "suppress"), [(0.5, 0.3), (0.3, 0.6)])
def test_every_path_written_out(seed: int, link: float, suppress: float) -> None:
    video = random_video(seed, frames=5, most=4)
    got = seq_nms(video, SeqNmsOptions(link, suppress))
    wanted = written_out(video, link, suppress)
    assert sum(map(len, wanted)) > 0
    for frame, result, rescored in zip(video, got, wanted, strict=True):
        order = sorted(rescored, key=lambda index: -rescored[index])
        np.testing.assert_allclose(result.scores, [rescored[index] for index in order], rtol=1e-6)
        rows = {(*frame.xyxy_px[index].tolist(), int(frame.labels[index])) for index in order}
        assert {(*row.tolist(), int(label)) for row, label in zip(result.xyxy_px, result.labels, strict=True)} == rows


def test_a_weak_box_between_strong_ones_is_lifted_and_a_lonely_one_is_not() -> None:
    """By hand: 0.9 + 0.3 + 0.6 over three frames is 0.6 each; the strong false box of one frame keeps its 0.7."""
    video = [
        boxes((0, 0, 10, 10, 0.9, 1), (0, 1, 10, 11, 0.5, 1), (50, 50, 60, 60, 0.7, 1)),
        boxes((1, 0, 11, 10, 0.3, 1), (1, 0, 11, 10, 0.8, 2)),
        boxes((2, 0, 12, 10, 0.6, 1)),
    ]
    first, second, third = seq_nms(video)
    assert first.scores.tolist() == pytest.approx([0.7, 0.6])  # 0.5 was suppressed by its neighbour on the path
    assert sorted(zip(second.labels.tolist(), second.scores.tolist(), strict=True)) == [
        (1, pytest.approx(0.6)),
        (2, pytest.approx(0.8)),
    ]
    assert third.scores.tolist() == pytest.approx([0.6])


def test_long_videos_with_gaps_and_nothing() -> None:
    assert seq_nms([]) == []
    assert [len(frame) for frame in seq_nms([Boxes.empty(), Boxes.empty()])] == [0, 0]
    video = random_video(7, frames=120, most=12, labels=3)
    got = seq_nms(video)
    for frame, result in zip(video, got, strict=True):
        assert len(result) <= len(frame) and (np.diff(result.scores) <= 1e-7).all()
        for label in np.unique(result.labels):
            own = result.select(result.labels == label)
            overlap = own.iou(own) - np.eye(len(own))
            assert overlap.max(initial=0.0) < 0.3 + 1e-9


def test_corner_rules_give_the_same_paths() -> None:
    video = random_video(3, frames=6, most=5)
    inclusive = [frame.with_corners("inclusive") for frame in video]
    for edges, other in zip(seq_nms(video), seq_nms(inclusive), strict=True):
        assert other.corners == "inclusive" and other.as_edges() == edges


def test_empty_boxes_end() -> None:
    video = [boxes((5, 5, 5, 9, 0.5, 0), (5, 5, 5, 9, 0.4, 0)), boxes((5, 5, 5, 9, 0.0, 0))]
    assert [frame.scores.tolist() for frame in seq_nms(video)] == [pytest.approx([0.5, 0.4]), [0.0]]


@pytest.mark.parametrize("window", [1, 3, 50])
def test_online_is_the_same_over_the_past(window: int) -> None:
    video = random_video(5, frames=15, most=6)
    online = OnlineSeqNms(window)
    pushed = [online.push(frame) for frame in video]
    for index, got in enumerate(pushed):
        assert got == seq_nms(video[max(0, index + 1 - window) : index + 1])[-1]
    online.reset()
    assert online.push(video[0]) == seq_nms(video[:1])[0]


@pytest.mark.parametrize("options", [{"link_iou": 0.0}, {"nms_iou": 1.5}, {"nms_iou": float("nan")}])
def test_wrong_limits_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"Seq-NMS|nms_iou"):
        SeqNmsOptions(**options)
    with pytest.raises(OptionError, match="window"):
        OnlineSeqNms(0)
