"""Shape inference of the op without an engine: never a word about an output that the node may not have."""

from __future__ import annotations

import pytest

from lsts_edge.custom_ops import library_path
from lsts_edge.custom_ops.abi_host import AbiHost, ShapeTold
from lsts_edge.errors import OpLibraryError, OpLibraryMissing

EMBEDDING, FEATURE = (2, 9, 13, 11), (2, 20, 13, 11)


@pytest.fixture(scope="module")
def host() -> AbiHost:
    try:
        return AbiHost(library_path())
    except OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")


def inputs_of(feature: ShapeTold) -> tuple[ShapeTold, ...]:
    embedding = ShapeTold(feature.dtype, EMBEDDING)
    return embedding, embedding, feature, ShapeTold("float32", (9, 2))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_first_output_is_like_the_feature_and_no_other_is_named(host: AbiHost, dtype: str, outputs: int) -> None:
    """One output is what the exporter writes; the engines up to ONNX Runtime 1.27 end the process at a second index."""
    told = host.infer_shapes(inputs_of(ShapeTold(dtype, FEATURE)), outputs=outputs)
    assert told == (ShapeTold(dtype, FEATURE, ("",) * 4), *(None,) * (outputs - 1))


def test_names_of_open_sizes_are_kept(host: AbiHost) -> None:
    feature = ShapeTold("float32", (-1, 20, -1, -1), ("N", "", "H", "W"))
    assert host.infer_shapes(inputs_of(feature), outputs=1) == (feature,)


@pytest.mark.parametrize("feature", [ShapeTold(), ShapeTold("float32", (-1, 20, 13, 11))])
def test_unknown_ranks_and_unnamed_open_sizes_are_left_open(host: AbiHost, feature: ShapeTold) -> None:
    assert host.infer_shapes(inputs_of(feature), outputs=1) == (None,)


def test_an_index_past_the_end_is_seen(host: AbiHost) -> None:
    """The planted fault: a node without outputs, so that the one shape that is set is past the end."""
    with pytest.raises(OpLibraryError, match="a shape for output 0, expected shapes for the node's 0 outputs"):
        host.infer_shapes(inputs_of(ShapeTold("float32", FEATURE)), outputs=0)
