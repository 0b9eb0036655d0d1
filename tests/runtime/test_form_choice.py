"""``auto``: the form is measured on the device once, kept in the user's cache, and never kept in the bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from export_bundles import tiny_variants

from lsts_edge.bundle import Bundle, write_bundle
from lsts_edge.bundle.manifest import WeightsInfo
from lsts_edge.custom_ops import finder
from lsts_edge.errors import OpLibraryError, OptionError
from lsts_edge.export.exporter import export_model
from lsts_edge.model import random_network
from lsts_edge.presets import get_preset
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.runtime.form_choice import choose_form
from lsts_edge.runtime.pipeline import Pipeline

WEIGHTS = WeightsInfo("random", "none", "random weights", seed=0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    exported = export_model(random_network(get_preset("lsts-tiny"), 0), WEIGHTS, forms=("taps", "custom"))
    return write_bundle(tmp_path_factory.mktemp("choice") / "bundle", exported.manifest, exported.files)


def needs_library() -> None:
    try:
        finder.library_path()
    except finder.OpLibraryMissing as missing:
        pytest.skip(f"no op library in this install: {missing.got}")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_measured_once_then_taken_from_the_cache(bundle: Bundle, tmp_path: Path, backend: str) -> None:
    needs_library()
    before = sorted(path.name for path in bundle.path.iterdir())
    first = choose_form(bundle, EngineOptions(backend, threads=1), folder=tmp_path)
    assert set(first.times_ms) == {"taps", "custom"} and not first.from_cache and not first.refused
    again = choose_form(bundle, EngineOptions(backend, threads=1), folder=tmp_path)
    assert again == dataclasses.replace(first, from_cache=True)
    assert not choose_form(bundle, EngineOptions(backend, threads=2), folder=tmp_path).from_cache, (
        "other threads, other answer"
    )
    assert sorted(path.name for path in bundle.path.iterdir()) == before
    assert len(list((tmp_path / "forms").iterdir())) == 2


@pytest.mark.parametrize(
    ("times", "form"),
    [
        ({"taps": 2.0, "custom": 1.0}, "custom"),
        ({"taps": 1.0, "custom": 2.0}, "taps"),
        ({"taps": 1.0, "custom": 0.99}, "taps"),  # within noise the default stays
    ],
)
def test_the_faster_form_wins_clearly_or_not_at_all(
    bundle: Bundle, tmp_path: Path, times: dict[str, float], form: str
) -> None:
    needs_library()
    choose_form(bundle, EngineOptions(threads=1), folder=tmp_path, rounds=1)
    (kept,) = (tmp_path / "forms").iterdir()
    kept.write_text(json.dumps({"schema": 1, "times_ms": times}))
    choice = choose_form(bundle, EngineOptions(threads=1), folder=tmp_path)
    assert choice.from_cache and choice.form == form


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"times_ms": {"taps": 1}}', '{"times_ms": {"taps": -1, "custom": 1}}', '{"times_ms": 3}'],
)
def test_a_damaged_cache_is_measured_again(bundle: Bundle, tmp_path: Path, content: str) -> None:
    needs_library()
    choose_form(bundle, EngineOptions(threads=1), folder=tmp_path, rounds=1)
    (kept,) = (tmp_path / "forms").iterdir()
    kept.write_text(content)
    choice = choose_form(bundle, EngineOptions(threads=1), folder=tmp_path, rounds=1)
    assert not choice.from_cache and json.loads(kept.read_text())["times_ms"] == choice.times_ms


def test_without_the_library_taps_are_chosen_and_the_reason_is_told(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        finder.library_path, "__kwdefaults__", {**finder.library_path.__kwdefaults__, "folder": tmp_path}
    )
    choice = choose_form(bundle, folder=tmp_path)
    assert choice.form == "taps" and not choice.from_cache
    assert "this install has no op library" in choice.refused["custom"]
    assert not (tmp_path / "forms").exists()


@pytest.mark.parametrize(
    ("forms", "words"),
    [
        (("custom",), "Or export the bundle with --lsts-form taps: this one holds the form custom only."),
        (("custom", "taps"), "Or use --lsts-form taps: this bundle holds it too."),
        (("custom", "taps", "gridsample"), "Or use --lsts-form taps or gridsample: this bundle holds them too."),
    ],
)
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_advice_without_the_library_is_made_from_what_the_bundle_has(
    forms: tuple[str, ...], words: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = export_model(random_network(get_preset("lsts-tiny"), 0), WEIGHTS, forms=forms)
    made = write_bundle(tmp_path / "bundle", exported.manifest, exported.files)
    monkeypatch.setattr(
        finder.library_path, "__kwdefaults__", {**finder.library_path.__kwdefaults__, "folder": tmp_path}
    )
    with pytest.raises(OpLibraryError) as caught:
        Pipeline(made, EngineOptions(backend, threads=1))
    assert caught.value.code == "oplib-missing" and str(caught.value).endswith(words)
    for form in forms[1:]:
        assert Pipeline(made, EngineOptions(backend, threads=1, lsts_form=form)).lsts_form == form, "the advice works"


def test_a_bundle_with_one_form_needs_no_measurement(tmp_path: Path) -> None:
    exported = export_model(random_network(get_preset("lsts-tiny"), 0), WEIGHTS, forms=("taps",))
    only = write_bundle(tmp_path / "bundle", exported.manifest, exported.files)
    assert choose_form(only, folder=tmp_path / "cache").form == "taps"
    assert not (tmp_path / "cache").exists()


def test_a_bundle_without_lsts_is_told(tmp_path: Path) -> None:
    exported = export_model(random_network(tiny_variants()["per-frame"], 0), WEIGHTS)
    with pytest.raises(OptionError, match="per-frame"):
        choose_form(write_bundle(tmp_path / "bundle", exported.manifest, exported.files))


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_library()
    blocked = tmp_path / "file"
    blocked.write_text("")
    choice = choose_form(bundle, EngineOptions(threads=1), folder=blocked, rounds=1)
    assert choice.form in ("taps", "custom")
    assert "is not kept" in caplog.text


def test_the_pipeline_takes_the_measured_form(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_library()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    choose_form(bundle, EngineOptions(threads=1), rounds=1)
    (kept,) = (tmp_path / "lsts-edge" / "forms").iterdir()
    for times, form in (({"taps": 2.0, "custom": 1.0}, "custom"), ({"taps": 1.0, "custom": 2.0}, "taps")):
        kept.write_text(json.dumps({"schema": 1, "times_ms": times}))
        assert Pipeline(bundle, EngineOptions(threads=1, lsts_form="auto")).lsts_form == form
    with pytest.raises(OptionError, match="already open"):
        EngineOptions(open_backend(), lsts_form="auto")


def test_without_a_home_it_is_measured_and_not_kept(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    needs_library()
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    choice = choose_form(bundle, EngineOptions(threads=1), rounds=1)
    assert choice.form in ("taps", "custom") and not choice.from_cache
    assert caplog.text.count("no home folder") == 1
    assert list(tmp_path.iterdir()) == [], "no folder named ~"
