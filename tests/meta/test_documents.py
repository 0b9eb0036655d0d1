"""README and docs say what is: their links lead somewhere, their commands exist with the options they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from committed_results import BENCHMARKS, WRAPPED
from lsts_edge.benchmarks.accuracy.study_result import StudyResult
from lsts_edge.benchmarks.accuracy.study_tables import study_markdown
from lsts_edge.benchmarks.readme import BEGIN, END, TABLES_BEGIN, TABLES_END, readme_block, tables_block
from lsts_edge.benchmarks.results import read_result
from lsts_edge.benchmarks.targets import TARGETS_BEGIN, TARGETS_END, targets_block
from lsts_edge.benchmarks.wrap_result import read_wrap_result
from lsts_edge.benchmarks.wrap_tables import WRAP_BEGIN, WRAP_END, study_block, wrap_block
from lsts_edge.cli import command_line

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _links(text: str) -> list[str]:
    return [first or second for first, second in _LINK.findall(_FENCE.sub("", text))]


def _commands(text: str) -> list[str]:
    """Lines of shell blocks, joined where a backslash ends one, without prompts and comments."""
    blocks = [body for language, body in _FENCE.findall(text) if language in ("", "sh", "bash", "console", "shell")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ").split("  #")[0] for line in lines]


def _check_program(words: list[str]) -> None:
    """Parse the words as ``lsts-edge`` would, without running the command."""
    command: click.Command = command_line
    context = click.Context(command, info_name="lsts-edge")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--version"}
    for word in words:
        if word.startswith("-") and not re.fullmatch(r"-?\d.*", word):
            assert word.split("=")[0] in known, f"{command.name} has no {word}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in _links(path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", link) and not link.startswith("#"):
            assert (path.parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_commands_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in _commands(path.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, line
        elif words and words[0].endswith("lsts-edge"):
            _check_program(words[1:])


def test_readme_leads_with_its_two_commands() -> None:
    commands = _commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"make demo", "make test"} <= {line.strip() for line in commands}
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


_SPACED = re.compile(r"\b\d{2,} x \d{2,}\b")
_TALL = re.compile(r"\b(?:600x1000|256x448|64x96|360x640|720x1280|1080x1920)\b")


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_sizes_are_width_x_height(path: Path) -> None:
    """One way to write a size: ``1280x720``."""
    text = path.read_text(encoding="utf-8")
    assert _SPACED.findall(text) + _TALL.findall(text) == []


_SOURCE = re.compile(r"`((?:\w+/)*\w+\.(?:py|cc|h|cu|cuh))(?:::\w+)?`")
_FORBIDDEN = {"utils.py"}  # named as what there is not


@pytest.fixture(scope="module")
def sources() -> list[str]:
    folders = ("lsts_edge", "export", "runtime", "custom_ops", "benchmarks", "tests", "examples")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix]
    return ["/" + path.relative_to(ROOT).as_posix() for path in (*found, ROOT / "setup.py")]


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=_name)
def test_sources_named_exist(path: Path, sources: list[str]) -> None:
    """By their path, or the end of it: a text about ``custom_ops`` names ``lsts.h``."""
    named = {name for name in _SOURCE.findall(path.read_text(encoding="utf-8")) if "NAME" not in name} - _FORBIDDEN
    assert [name for name in sorted(named) if not any(source.endswith(f"/{name}") for source in sources)] == []


def test_tables_are_what_the_results_say() -> None:
    """The committed tables, in the order in which the shell gives the files; the README's one is short."""
    results = [read_result(path) for path in BENCHMARKS]
    readme, document = (ROOT / "README.md").read_text("utf-8"), (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    shown = readme.partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == readme_block(results).strip()
    assert 3 <= sum(line.startswith("| ") for line in shown.splitlines()) <= 1 + 8
    assert targets_block(results).strip() in document.partition(TARGETS_BEGIN)[2].partition(TARGETS_END)[0]
    assert document.partition(TABLES_BEGIN)[2].partition(TABLES_END)[0].strip() == tables_block(results).strip()


def test_tables_of_wrapped_detectors_are_what_the_results_say() -> None:
    results = [read_wrap_result(path) for path in WRAPPED]
    for name, block in (("README.md", wrap_block), ("docs/what-pays.md", study_block)):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert text.partition(WRAP_BEGIN)[2].partition(WRAP_END)[0] == f"\n{block(results)}", name


def test_best_scores_are_what_the_results_say() -> None:
    text = (ROOT / "docs" / "your-detector.md").read_text("utf-8")
    for path in WRAPPED:
        told = re.match(r"([0-9.]+), the score of best F1 \(([0-9.]+)\)", read_wrap_result(path).truth.words)
        assert told is not None and re.search(rf": {told[1]} \((F1 )?{told[2]}\)", text), path


@pytest.mark.parametrize(
    ("page", "file"), [("study.md", "study-lsts-lite.json"), ("study-rendered.md", "study-rendered.json")]
)
def test_a_study_is_what_its_result_says(page: str, file: str) -> None:
    result = read_result(next(path for path in BENCHMARKS if path.name == file))
    assert isinstance(result, StudyResult)
    assert study_markdown(result, file) == (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_every_study_has_a_page() -> None:
    named = (ROOT / "docs" / "study.md").read_text("utf-8") + (ROOT / "docs" / "study-rendered.md").read_text("utf-8")
    studies = [path.name for path in BENCHMARKS if path.name.startswith("study-")]
    assert studies and [name for name in studies if f"`benchmarks/results/{name}`" not in named] == []


def test_planted_faults_are_seen() -> None:
    assert _SOURCE.findall("`session.py`, `a/b.cc`, `lsts_edge`") == ["session.py", "a/b.cc"]
    assert _SPACED.findall("at 448 x 256 px") and _TALL.findall("at 600x1000") and not _TALL.findall("at 1000x600")
    assert _links('see [this](docs/none.md), <img src="x.png">') == ["docs/none.md", "x.png"]
    assert _commands("```sh\n$ lsts-edge run a \\\n  --fast  # quick\n```") == ["lsts-edge run a    --fast"]
    with pytest.raises(AssertionError, match="no --fast"):
        _check_program(["inspect", "bundle", "--fast"])
    with pytest.raises(AssertionError, match="no command walk"):
        _check_program(["walk"])
