"""Engines look nobody up and leave no file outside our cache; both guards are shown to see it when they do."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

BUNDLE = ROOT / "tests" / "data" / "bundle_schema_1"
"""lsts-tiny with two LSTS forms: ``auto`` tries each in a child process."""

# What Python does with the network is written down, in forked processes too; native code is strace's.
RUN = """
import json, os, sys
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        os.write(log, (json.dumps([event, repr(arguments[-1] if event == "socket.connect" else arguments)]) + "\\n").encode())
sys.addaudithook(watch)
import numpy as np
from lsts_edge.runtime import Detector, EngineOptions
for engine in ("onnxruntime", "openvino"):
    with Detector(sys.argv[2], EngineOptions(engine, lsts_form=sys.argv[3])) as detector:
        for index in range(12):
            detector.push(np.full((64, 96, 3), 20 * index, np.uint8))
"""  # noqa: E501

# Nothing that is planted here reaches anybody: what goes out by HTTP goes to a port where nobody listens.
NOWHERE = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
DECIDES = ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "LSTS_EDGE_TELEMETRY", "no_proxy", "NO_PROXY")


@dataclass(frozen=True)
class Seen:
    """What a run did: files below its home, network calls of Python, and strace's lines where there is one."""

    files: list[str]
    calls: list[str]
    traced: list[str] | None

    @property
    def sockets(self) -> list[str]:
        """Network calls of any code; a look-up in the machine's own name service cache is none yet."""
        assert self.traced is not None
        return [line for line in self.traced if re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(.*AF_INET", line)]

    @property
    def written(self) -> list[str]:
        """Paths of files that were opened to be written."""
        assert self.traced is not None
        opened = [line for line in self.traced if re.search(r"O_CREAT|O_WRONLY|O_RDWR", line) and "= -1" not in line]
        return [path.group(1) for line in opened if (path := re.search(r'openat\([^"]*"([^"]+)"', line))]


STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=network,openat", "-s", "300", "-o")


@functools.cache
def _strace_works() -> bool:
    """It is installed, and this machine lets it trace."""
    return shutil.which("strace") is not None and subprocess.run([*STRACE, "/dev/null", "true"]).returncode == 0


@functools.cache
def _run(telemetry: str | None, form: str) -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        home, log, trace = Path(folder, "home"), Path(folder, "log"), Path(folder, "trace")
        home.mkdir()
        environment = {name: value for name, value in os.environ.items() if name not in DECIDES}
        environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT), **NOWHERE}
        if telemetry is not None:
            environment["LSTS_EDGE_TELEMETRY"] = telemetry
        words = [sys.executable, "-c", RUN, str(log), str(BUNDLE), form]
        if _strace_works():
            words = [*STRACE, str(trace), *words]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        files = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
        traced = None
        if _strace_works():
            lines = trace.read_text(errors="replace").splitlines()
            assert any("onnxruntime" in line for line in lines), "strace saw nothing"
            traced = [line.replace(str(home), "HOME") for line in lines if str(log) not in line]
        return Seen(files, [str(json.loads(line)) for line in log.read_text().splitlines()], traced)


def test_no_call_and_no_file_outside_our_cache() -> None:
    seen = _run(None, "auto")
    assert seen.calls == []
    assert len(seen.files) == 2 and all(file.startswith("cache/lsts-edge/forms/") for file in seen.files), seen.files


def test_native_code_is_silent_too() -> None:
    if not _strace_works():
        pytest.skip("strace is not installed (apt-get install strace), or may not trace")
    seen = _run(None, "auto")
    assert seen.sockets == []
    ours = re.compile(r"HOME/cache/lsts-edge/|/dev/null$|.*/__pycache__/")
    assert [path for path in seen.written if not ours.match(path)] == []


def test_the_guards_see_engines_that_were_asked_to_tell() -> None:
    """The planted fault: telemetry on. Makes the two tests above worth something."""
    seen = _run("on", "taps")
    assert any("onnxruntime.db" in file for file in seen.files), "ONNX Runtime keeps its database elsewhere now"
    assert any("openvino_ga_cid" in file for file in seen.files), "OpenVINO keeps its id elsewhere now"
    assert any("127.0.0.1" in call for call in seen.calls), "OpenVINO's package tells nobody now"
    if seen.traced is not None:
        assert seen.sockets and any("deviceid" in path for path in seen.written)


@pytest.mark.parametrize(
    ("variables", "off"),
    [
        ({"ORT_DISABLE_TELEMETRY": "0"}, True),  # an engine's own variable does not ask for it
        ({"LSTS_EDGE_TELEMETRY": "yes"}, True),  # nor does another word
        ({"LSTS_EDGE_TELEMETRY": "ON"}, False),
        ({"LSTS_EDGE_TELEMETRY": "on", "ORT_DISABLE_TELEMETRY": "1"}, True),  # what the user turned off stays off
    ],
)
def test_one_word_asks_for_it(variables: dict[str, str], off: bool) -> None:
    program = "import os, lsts_edge; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    environment = {name: value for name, value in os.environ.items() if name not in DECIDES}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("1" if off else "None")
