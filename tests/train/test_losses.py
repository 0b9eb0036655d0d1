"""Detection losses: anchors and proposals matched by hand, ignore boxes on neither side, batches like images."""

from __future__ import annotations

import pytest
import torch

from lsts_edge.errors import OptionError
from lsts_edge.model import random_network
from lsts_edge.model.rfcn import HeadMaps, RfcnHead
from lsts_edge.presets import get_preset
from lsts_edge.train import losses as losses_module
from lsts_edge.train.losses import DetectionLoss, LossOptions, Truth, batched_proposals, covered_by, match

SIZE = (64, 96)


@pytest.fixture(scope="module")
def head() -> RfcnHead:
    return random_network(get_preset("lsts-tiny"), 0).head


def maps_of(head: RfcnHead, batch: int = 3) -> HeadMaps:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        return head.maps(torch.rand(batch, 32, 4, 6, generator=generator))


def truth_of(boxes: list[list[float]], labels: list[int], ignore: list[bool], batch: int = 1) -> Truth:
    return Truth.of(
        torch.tensor([boxes] * batch), torch.tensor([labels] * batch), torch.tensor([ignore] * batch)
    )  # fmt: skip


def test_match_and_cover_counted_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 4.0]])
    truth = torch.tensor([[[0.0, 0.0, 9.0, 9.0], [5.0, 0.0, 14.0, 9.0]]])
    iou = match(boxes, truth, torch.tensor([[True, True]]))
    assert iou[0].flatten().tolist() == pytest.approx([1.0, 50 / 150, 0.5, 25 / 125])
    assert match(boxes, truth, torch.tensor([[True, False]]))[0, :, 1].max() < 0
    assert covered_by(boxes, truth[:, 1:], torch.tensor([[True]]))[0].tolist() == pytest.approx([0.5, 0.5])
    assert covered_by(boxes, truth[:, 1:], torch.tensor([[False]]))[0].tolist() == [0.0, 0.0]


def test_truth_parts_objects_from_ignore_boxes():
    truth = truth_of([[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 8, 8]], [-1, 3, 2], [False, True, False])
    assert truth.boxes.tolist() == [[[2, 2, 8, 8]]] and truth.labels.tolist() == [[2]]
    assert truth.hidden.tolist() == [[[1, 1, 5, 5]]] and truth.is_hidden.tolist() == [[True]]


def test_batched_proposals_are_those_of_the_head(head: RfcnHead):
    maps = maps_of(head)
    boxes, valid = batched_proposals(head, maps, SIZE, head.preset.rpn_post_nms)
    expected = head.propose(maps, *SIZE)
    for image in range(3):
        wanted = expected[expected[:, 0] == image, 1:]
        got = boxes[image, valid[image]]
        assert got.shape == wanted.shape
        torch.testing.assert_close(got, wanted)


def test_losses_are_finite_without_any_box(head: RfcnHead):
    truth = truth_of([[0.0, 0.0, 9.0, 9.0]], [-1], [False], batch=3)
    result = DetectionLoss(head)(maps_of(head), truth, SIZE, torch.Generator().manual_seed(0))
    assert all(bool(torch.isfinite(value)) for value in result.values())
    assert float(result["rpn_box"]) == 0.0 and float(result["box"]) == 0.0


def eager_maps(head: RfcnHead) -> HeadMaps:
    """Every anchor is sure of an object, every bin of the class map sure of class 0 (label 0)."""
    cells = head.preset.bins**2
    anchors = head.preset.anchors_per_cell
    logits = torch.cat((torch.full((1, anchors, 4, 6), -6.0), torch.full((1, anchors, 4, 6), 6.0)), dim=1)
    classes = torch.zeros(1, 6 * cells, 4, 6)
    classes[:, cells : 2 * cells] = 8.0
    return HeadMaps(logits, torch.zeros(1, 4 * anchors, 4, 6), classes, torch.zeros(1, 8 * cells, 4, 6))


def test_ignore_box_silences_false_alarms(head: RfcnHead):
    def total(ignore: bool) -> tuple[float, float]:
        # One true box, and the whole image either background or an ignore box.
        truth = truth_of([[8, 8, 40, 40], [-200, -200, 300, 300]], [0, 0 if ignore else -1], [False, True])
        result = DetectionLoss(head)(eager_maps(head), truth, SIZE, torch.Generator().manual_seed(0))
        return float(result["rpn_class"]), float(result["class"])

    rpn_with, class_with = total(True)
    rpn_without, class_without = total(False)
    assert rpn_without > 2.0 and class_without > 2.0, "false alarms must cost"
    assert rpn_with < 0.05 and class_with < 0.05, "under an ignore box they must not"


def test_planted_fault_ignored_boxes_count_as_background(head: RfcnHead, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(losses_module, "covered_by", lambda boxes, regions, valid: torch.zeros(1, boxes.shape[-2]))
    with pytest.raises(AssertionError, match="must not"):
        test_ignore_box_silences_false_alarms(head)


def test_hard_examples_are_the_dearest(head: RfcnHead):
    truth = truth_of([[8.0, 8.0, 40.0, 40.0]], [2], [False], batch=3)
    few, many = (
        DetectionLoss(head, LossOptions(hard=hard))(maps_of(head), truth, SIZE, torch.Generator().manual_seed(0))
        for hard in (2, 1000)
    )
    assert float(few["class"] + few["box"]) > float(many["class"] + many["box"])


def test_gradient_reaches_every_head_layer(head: RfcnHead):
    network = random_network(get_preset("lsts-tiny"), 1)
    maps = network.head.maps(torch.rand(2, 32, 4, 6, generator=torch.Generator().manual_seed(0)))
    truth = truth_of([[8.0, 8.0, 40.0, 40.0]], [2], [False], batch=2)
    result = DetectionLoss(network.head)(maps, truth, SIZE, torch.Generator().manual_seed(0))
    torch.stack(list(result.values())).sum().backward()
    for name, parameter in network.head.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_absurd_options_are_refused():
    with pytest.raises(OptionError):
        LossOptions(hard=0)
    with pytest.raises(OptionError):
        LossOptions(rpn_negative=0.8)


def test_half_trust_halves_what_an_object_costs_and_nothing_else(head: RfcnHead):
    maps = maps_of(head, 1)
    boxes, labels = torch.tensor([[[20.0, 10.0, 60.0, 50.0]]]), torch.tensor([[2]])

    def losses(trust: float | None) -> dict[str, float]:
        sure = None if trust is None else torch.full((1, 1), trust)
        truth = Truth.of(boxes, labels, torch.zeros(1, 1, dtype=torch.bool), sure)
        with torch.no_grad():
            loss = DetectionLoss(head, LossOptions(hard=1000))  # all proposals count, so that the same ones do
            found = loss(maps, truth, SIZE, torch.Generator().manual_seed(0))
        return {name: float(value) for name, value in found.items()}

    whole, half, none = losses(1.0), losses(0.5), losses(0.0)
    assert losses(None) == whole
    assert half["rpn_box"] == pytest.approx(whole["rpn_box"] / 2) and none["rpn_box"] == 0.0
    # Background costs what it did: only the object's part shrinks, in a straight line.
    assert half["rpn_class"] == pytest.approx((whole["rpn_class"] + none["rpn_class"]) / 2)
    assert 0 < none["rpn_class"] < whole["rpn_class"]
    assert none["box"] == 0.0 < whole["box"] and half["box"] == pytest.approx(whole["box"] / 2)
