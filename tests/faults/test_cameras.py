"""Cameras that freeze, die, come back, refuse or lock out: real processes, stopped and killed by signals."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cameras import Camera, read_number
from running import start_program
from threads import left_running

from lsts_edge.errors import StreamLost, StreamUnauthorized, StreamUnreadable
from lsts_edge.runtime import Detector, open_source
from lsts_edge.runtime.loop import RunSummary, run_stream
from lsts_edge.runtime.sources import SourceOptions
from videos import read_pictures

_HANG_S = 120.0
_CYCLES = 2
_STALL_S = 0.5


def _fault(camera: Camera, fault: str) -> None:
    """Make it fail now and be well again a little later, by another thread."""
    if fault == "freeze":
        camera.freeze()
        back: Callable[[], object] = camera.thaw
    else:
        camera.kill()
        back = camera.start
    threading.Timer(0.3 if fault == "restart" else 3 * _STALL_S, back).start()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("mjpeg", "freeze"), ("mjpeg", "restart"), ("tcp", "restart"), ("udp", "stop"), ("udp", "freeze")],
)
def test_a_camera_that_comes_back_is_found_again(hand_made_bundle: Path, kind: str, fault: str) -> None:
    threads_before = threading.active_count()
    with Camera(kind) as camera:
        camera.start()
        source = open_source(camera.url, SourceOptions(stall_s=_STALL_S, reconnect="forever"))
        found: list[tuple[int, float]] = []
        faults, since, awaited = 0, 0, 0
        begin_s = time.monotonic()
        with Detector(hand_made_bundle) as detector, source:
            for frame, detections in detector.run(source):
                assert time.monotonic() - begin_s < _HANG_S, found[-3:]
                assert frame.reconnects == detections.reconnects == source.reconnects
                if detections.reset_reason == "reconnect":
                    assert frame.time_s is not None
                    found.append((frame.reconnects, frame.time_s))
                since = since + 1 if frame.reconnects >= awaited else 0
                if since == 5:
                    if faults == _CYCLES:
                        break
                    faults, awaited, since = faults + 1, frame.reconnects + 1, 0
                    _fault(camera, fault)
    assert len(found) >= _CYCLES
    assert [count for count, _ in found] == list(range(1, len(found) + 1))
    assert [time_s for _, time_s in found] == sorted(time_s for _, time_s in found)  # time goes on over the gaps
    assert left_running("connection of") == left_running("reader of") == []
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join()
    assert threading.active_count() <= threads_before


def test_an_http_camera_is_live_without_being_called_so() -> None:
    """A consumer of 5 pictures a second gets the newest ones: their numbers keep up with the time that passes."""
    with Camera("mjpeg").start() as camera, open_source(camera.url) as source:
        assert source.live
        ages, first = [], None
        for frame in source:
            assert frame.arrived_s is not None and frame.time_s is not None
            first = first or (read_number(frame.image), frame.time_s)
            ages.append((read_number(frame.image) - first[0]) / 25 - (frame.time_s - first[1]))
            if len(ages) == 15:
                break
            time.sleep(0.2)
    assert source.dropped > 20
    # By the time stamps of arrival, a picture that waited in a growing queue would be 2 s behind by now.
    assert abs(ages[-1]) < 1.0, ages


def test_a_lost_camera_is_no_success_and_its_rows_are_kept(hand_made_bundle: Path, tmp_path: Path) -> None:
    from lsts_edge.runtime.sinks.json_lines import JsonLinesSink
    from lsts_edge.runtime.sinks.video import VideoSink

    outputs = [JsonLinesSink(tmp_path / "out.jsonl"), VideoSink(tmp_path / "out.mp4")]
    summary = RunSummary()
    with Camera("mjpeg").start() as camera:
        source = open_source(camera.url, SourceOptions(reconnect=0.5))
        with pytest.raises(StreamLost, match=r"not found again within 0.5 s"):
            run_stream(
                Detector(hand_made_bundle),
                source,
                outputs,
                on_result=lambda frame, _: camera.kill() if frame.index == 8 else None,
                summary=summary,
            )
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == summary.frames >= 9
    assert len(read_pictures(tmp_path / "out.mp4")) == len(rows)


def test_a_wrong_password_and_a_closed_port_are_told_apart() -> None:
    with Camera("mjpeg", "opensesame").start() as camera:
        address = f"127.0.0.1:{camera.port}/video"
        for wrong in (f"http://{address}", f"http://admin:hunter2@{address}"):
            with pytest.raises(StreamUnauthorized, match="401") as caught:
                open_source(wrong)
            assert "hunter2" not in str(caught.value)
        with open_source(f"http://admin:opensesame@{address}") as source:
            assert read_number(next(iter(source)).image) >= 0
    with pytest.raises(StreamUnreadable, match=r"refused") as refused:
        open_source(f"http://admin:hunter2@{address}")
    assert not isinstance(refused.value, StreamUnauthorized)
    assert "hunter2" not in str(refused.value)


def test_a_camera_that_changes_its_password_is_waited_for() -> None:
    with Camera("mjpeg", "first").start() as camera:
        url = f"http://admin:first@127.0.0.1:{camera.port}/video"
        with open_source(url, SourceOptions(stall_s=_STALL_S)) as source:
            for frame in source:
                if frame.reconnects == 1:
                    break
                if frame.index == 5:
                    camera.kill()
                    camera.password = "second"
                    camera.start()
                    camera.kill()
                    camera.password = "first"
                    threading.Timer(0.5, camera.start).start()
    assert source.reconnects == 1


def test_a_camera_that_is_not_there_yet_is_waited_for_where_asked() -> None:
    camera = Camera("tcp")
    with pytest.raises(StreamUnreadable, match="connection refused"):
        open_source(camera.url)
    with camera, open_source(camera.url, SourceOptions(reconnect="forever")) as source:
        threading.Timer(1.0, camera.start).start()
        assert next(iter(source)).reconnects == 0
    with pytest.raises(StreamUnreadable), open_source(camera.url, SourceOptions(reconnect=0.3)) as source:
        next(iter(source))


@pytest.fixture
def start_run(hand_made_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes = []

    def start(*words: object) -> subprocess.Popen[str]:
        process = start_program("run", hand_made_bundle, *words)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(int(_HANG_S / 0.05)):
        if what():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("words", "status"), [(["--reconnect", "never"], 8), (["--reconnect", "0.5"], 8), ([], 128 + signal.SIGTERM)]
)
def test_the_command_keeps_rows_and_says_how_it_ended(
    tmp_path: Path, start_run: Callable[..., subprocess.Popen[str]], words: list[str], status: int
) -> None:
    rows, video = tmp_path / "out.jsonl", tmp_path / "out.mkv"
    with Camera("mjpeg").start() as camera:
        process = start_run(camera.url + "?token=hunter2", "--output-json", rows, "--output-video", video, *words)
        _wait_for(lambda: any(tmp_path.glob(".out.jsonl.partial-*")), process)
        time.sleep(0.5)
        camera.kill()
        if not words:
            time.sleep(1.0)
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=_HANG_S)
    assert process.returncode == status, err
    assert "hunter2" not in out + err
    if status == 8:
        assert "error[stream-lost]: " in err
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(found) == len(read_pictures(video)) > 0
    assert f"{len(found)} frames" in out.splitlines()[-1]


@pytest.mark.parametrize("password", ["", "opensesame"])
def test_the_command_tells_a_wrong_password_from_a_refused_connection(
    password: str, start_run: Callable[..., subprocess.Popen[str]]
) -> None:
    with Camera("mjpeg", password) as camera:
        if password:
            camera.start()
        process = start_run(f"HTTP://admin:hunter2@127.0.0.1:{camera.port}/video")
        _, err = process.communicate(timeout=_HANG_S)
    assert process.returncode == 5
    assert ("401" in err) == bool(password)
    assert ("refused" in err.lower()) == (not password), err
    assert "hunter2" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("language", ["python", "command"])
def test_what_the_documentation_shows_runs(root: Path, language: str) -> None:
    """The ten lines and the command of docs/runtime.md, another address put in."""
    text = (root / "docs" / "runtime.md").read_text()
    section = text.split("### A camera that runs for a year\n")[1].split("\n### ")[0]
    code = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]
    assert len(code.splitlines()) <= 10
    words = shlex.split(re.findall(r"^    (lsts-edge run .*)$", section, re.MULTILINE)[0])
    example = "rtsp://USER:PASSWORD@camera/stream"
    assert example in code and example in words
    with Camera("mjpeg").start() as camera:
        if language == "python":
            command = [sys.executable, "-u", "-c", code.replace(example, camera.url)]
        else:
            command = [sys.executable, "-m", "lsts_edge", *[w.replace(example, camera.url) for w in words[1:]]]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            process.kill()
    times_s = [json.loads(line)["time_s"] if language == "command" else float(line.split()[0]) for line in lines]
    assert times_s[0] == 0.0 and times_s == sorted(times_s)
