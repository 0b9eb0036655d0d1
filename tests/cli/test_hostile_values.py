"""Every option of every command is given hostile values: one line of a known error, never a bug and no traceback."""

from __future__ import annotations

import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hand_made import write_hand_made_bundle
from lsts_edge import cli
from lsts_edge.cli.group import LazyGroup
from lsts_edge.errors import CheckFailed

# What each command is given beside the option at hand: as much as brings it to reading its options, and no further
# than a test may go. Names of files that are there are in braces.
BASE = {
    "demo": ["--clip", "absent.mp4", "--output", "demo", "--max-frames", "1"],
    "wrap": ["garbage.bin", "--clips", "pictures", "--output", "wrapped"],
    "export": ["--checkpoint", "garbage.pth", "--preset", "lsts-tiny", "--output", "exported"],
    "verify": ["bundle"],
    "inspect": ["bundle", "--no-first-run"],
    "doctor": [],
    "sign": ["bundle", "--key", "garbage.bin"],
    "run": ["bundle", "pictures", "--max-frames", "1"],
    "data vid": ["pictures", "--output", "vid.json"],
    "data davis": ["pictures", "--output", "davis.json"],
    "data render": ["--output", "rendered", "--videos", "1", "--frames", "1", "--size", "32x32"],
    "data teach": ["pictures", "--teacher", "garbage.bin", "--output", "taught"],
    "data pack": ["--recipe", "garbage.json", "--output", "packed"],
    "import-mxnet": ["garbage.bin", "--output", "x.safetensors"],
    "train": ["--data", "garbage.json", "--output", "x.safetensors", "--steps", "1", "--preset", "lsts-tiny"],
    "evaluate": ["bundle", "garbage.json"],
    "bench params": ["--bundle", "bundle"],
    "bench op": ["--size", "none"],
    "bench latency": ["bundle", "garbage.bin", "--cold-starts", "0", "--frames", "1"],
    "bench compare": ["bundle", "garbage.bin"],
    "bench sweep": ["bundle", "garbage.bin"],
    "bench elsewhere": ["bundle", "--annotations", "garbage.json"],
    "bench study": ["--train", "garbage.json", "--validation", "garbage.json"],
    "bench suite": ["--quick", "--no-paper-size", "--source", "garbage.bin", "--output", "suite"],
    "bench report": ["garbage.json", "--output", "page.html"],
}
SLOW = ("doctor", "bench compare", "bench sweep")  # a second a call: the test marked so has them
TAKE_LONG = ("demo", "export", "inspect", "run", "verify", "wrap", "bench latency")
# fmt: off
VALUES = [
    *("", " ", "-", "--", "0", "-1", "nan", "inf", "-inf", "1e309", "9" * 400, "1_0", "0x10", "True", "none", "["),
    *("caf\udce9", "\u202etxt.exe", "a" * 300, "a/" * 3000, "%s%n{0}"),
    *("\n", "=", "a=", "=b", "a=b=c", ",", "a,,b", "@", "x@-1"),
    *(".", "..", "/", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/nowhere/x", "absent", "absent/x.json"),
    *("empty", "garbage.bin", "garbage.json", "garbage.pth", "nested.json", "pictures", "bundle", "loop", "dangling"),
    *("0x0", "1x-1", "99999999x99999999", "16KiB", "999999TB", "0s"),
    *("rtsp://", "http://[", "file:///", "csi://x", "://"),
]
# fmt: on


def commands() -> Iterator[tuple[str, click.Command]]:
    def walk(group: LazyGroup, before: str) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, LazyGroup):
                yield from walk(command, f"{before}{name} ")
            else:
                yield f"{before}{name}", command

    yield from walk(cli.command_line, "")


COMMANDS = dict(commands())
PARAMETERS = [(name, parameter) for name, command in COMMANDS.items() for parameter in command.params]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_hand_made_bundle(folder / "bundle")
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "1.png"), np.full((48, 64, 3), 90, np.uint8))
    (folder / "empty").write_bytes(b"")
    for name in ("garbage.bin", "garbage.pth"):
        (folder / name).write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "garbage.json").write_text('{"images": [{}], "annotations": 3, "categories": [null], "kind": "nothing"}')
    (folder / "nested.json").write_text("[" * 100_000)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere/at/all")
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    monkeypatch.delenv(cli.TRACEBACK_VARIABLE, raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    if "bench suite" in COMMANDS:  # whose options may be right, and which then takes an hour

        def not_now(command: object, log: Path) -> None:
            raise CheckFailed("suite", got="a test", expected="a machine with time", fix="None.")

        monkeypatch.setattr("lsts_edge.benchmarks.suite._run", not_now)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def words_for(name: str, parameter: click.Parameter, value: str) -> list[str]:
    """The command's words with one of them, an argument or an option's value, replaced by the hostile one."""
    base = list(BASE[name])
    if isinstance(parameter, click.Option):
        if getattr(parameter, "is_flag", False):
            return [*name.split(), *base, parameter.opts[0]]
        return [*name.split(), *base, f"{parameter.opts[0]}={value}"]
    arguments = [one for one in COMMANDS[name].params if isinstance(one, click.Argument)]
    at = arguments.index(parameter)
    base[at : at + 1] = [value if not value.startswith("-") else f"./{value}"]
    return [*name.split(), *base]


def judge(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    told = capsys.readouterr()
    text = told.out + told.err
    assert "error[internal]" not in text and "Traceback" not in text, f"{words}: {text[-2000:]}"
    assert left.value.code in range(10), words
    if left.value.code and words[0] != "doctor":  # whose table says what does not work
        assert "error[" in told.err, f"{words}: {told.err[-2000:]}"
        assert told.err.count(", expected ") <= 1, f"an error within an error: {words}: {told.err[-2000:]}"


def test_every_command_has_a_base() -> None:
    assert set(BASE) == set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in BASE if name not in SLOW])
def test_each_option_with_a_hostile_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for parameter in COMMANDS[name].params:
        start = zlib.crc32(f"{name} {parameter.name}".encode())
        for step in range(1 if name in TAKE_LONG else 3):
            judge(words_for(name, parameter, VALUES[(start + 31 * step) % len(VALUES)]), capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=[f"{n} {p.name}" for n, p in PARAMETERS])
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=st.sampled_from(VALUES) | st.text(st.characters(exclude_characters="\0"), max_size=20))
def test_any_option_with_any_value(
    name: str, parameter: click.Parameter, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(words_for(name, parameter, value), capsys)
