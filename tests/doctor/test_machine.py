"""What the doctor says of a machine, each check with a fault planted for it to find."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from lsts_edge.custom_ops.finder import LIBRARY_FOLDER
from lsts_edge.doctor import v4l2
from lsts_edge.doctor.caches import check_caches
from lsts_edge.doctor.cameras import camera_finding, check_cameras
from lsts_edge.doctor.clocks import check_clocks, kernel_clock_state
from lsts_edge.doctor.decoders import CODECS, check_decoders
from lsts_edge.doctor.finding import Finding
from lsts_edge.doctor.op_library import check_op_library
from lsts_edge.doctor.packages import check_packages
from lsts_edge.doctor.power import check_power
from lsts_edge.doctor.telemetry import check_telemetry

SAMPLES = ROOT / "lsts_edge" / "data" / "doctor"


def _by_code(found: list[Finding]) -> dict[str, Finding]:
    return {one.code: one for one in found}


def _file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# --- packages


def test_packages_are_held_to_our_own_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _by_code(check_packages())["packages-ok"].facts["versions"]["numpy"]
    requires = ["numpy>=99", "click<8", "av>=1.0", "no-such-thing>=2", 'torch>=99; extra == "export"']
    lines = ["Metadata-Version: 2.1", "Name: lsts-edge", "Version: 0.0.9", *(f"Requires-Dist: {r}" for r in requires)]
    _file(tmp_path / "lsts_edge-0.0.9.dist-info" / "METADATA", "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = _by_code(check_packages())
    assert set(found) == {"python-ok", "package-two-installs", "package-old", "package-new", "package-missing"}
    assert found["package-old"].what == "numpy" and 'pip install --upgrade "numpy>=99"' in found["package-old"].fix
    assert found["package-new"].level == "warning" and found["package-new"].what == "click"
    assert found["package-missing"].what == "no-such-thing" and found["package-missing"].level == "error"


# --- op library


def test_op_library(tmp_path: Path) -> None:
    whole = check_op_library()[0]
    assert whole.code == "oplib-ok" and whole.facts["ops"] == ["lsts.edge::LSTS:1"]
    assert check_op_library(tmp_path)[0].code == "oplib-missing"
    shutil.copytree(LIBRARY_FOLDER, tmp_path / "changed")
    with open(tmp_path / "changed" / "liblsts_ops.so", "ab") as library:
        library.write(b"\0")
    changed = check_op_library(tmp_path / "changed")[0]
    assert (changed.code, changed.level) == ("oplib-digest", "error") and changed.fix


# --- decoders


def test_decoders(tmp_path: Path) -> None:
    found = check_decoders()
    assert [one.code for one in found[:-1]] == ["decoder-ok"] * len(CODECS)
    shutil.copytree(SAMPLES, tmp_path / "samples")
    (tmp_path / "samples" / CODECS["HEVC"]).write_bytes(b"nothing of the kind")
    _file(tmp_path / "dev" / "nvidia0", "")
    found = check_decoders(tmp_path / "dev", tmp_path / "samples")
    assert [one.code for one in found if one.level != "ok"] == ["decoder-missing", "decoder-hardware"]
    hardware = found[-1].facts
    assert set(hardware["with_device"]) == {name for name in hardware["decoders"] if name.endswith("_cuvid")}


def test_a_decoder_that_gives_other_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsts_edge.doctor.decoders.LEFT_BGR", (200, 40, 40))
    assert {one.code for one in check_decoders()[:-1]} == {"decoder-wrong"}


# --- cameras


def test_no_camera(tmp_path: Path) -> None:
    assert check_cameras(tmp_path)[0].code == "camera-none"
    _file(tmp_path / "video0", "a plain file")
    found = check_cameras(tmp_path)
    assert [one.code for one in found] == ["camera-unusable"] and found[0].level == "warning"


def test_a_camera_that_this_user_may_not_open() -> None:
    """As nobody where this is root's process: root may open everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        device = Path(folder, "video0")
        device.touch(0o000)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            found = check_cameras(Path(folder))
        finally:
            if root:
                os.seteuid(0)
    assert [one.code for one in found] == ["camera-permission"] and "usermod -aG video" in found[0].fix


KERNEL = """
#include <linux/videodev2.h>
#include <stdio.h>
int main(void) {
  printf("%zu %zu %zu %zu ", sizeof(struct v4l2_capability), sizeof(struct v4l2_fmtdesc),
         sizeof(struct v4l2_frmsizeenum), sizeof(struct v4l2_frmivalenum));
  printf("%lu %lu %lu %lu", (unsigned long)VIDIOC_QUERYCAP, (unsigned long)VIDIOC_ENUM_FMT,
         (unsigned long)VIDIOC_ENUM_FRAMESIZES, (unsigned long)VIDIOC_ENUM_FRAMEINTERVALS);
  return 0;
}
"""


def test_layouts_and_numbers_are_the_kernels(tmp_path: Path) -> None:
    if shutil.which("cc") is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("no C compiler, or no headers of the kernel (apt-get install linux-libc-dev)")
    _file(tmp_path / "numbers.c", KERNEL)
    subprocess.run(["cc", tmp_path / "numbers.c", "-o", tmp_path / "numbers"], check=True)
    told = subprocess.run([tmp_path / "numbers"], capture_output=True, text=True, check=True).stdout
    layouts = (v4l2.CAPABILITY, v4l2.FORMAT, v4l2.FRAME_SIZE, v4l2.FRAME_INTERVAL)
    numbers = (v4l2.QUERYCAP, v4l2.ENUM_FMT, v4l2.ENUM_FRAMESIZES, v4l2.ENUM_FRAMEINTERVALS)
    assert told.split() == [*(str(layout.size) for layout in layouts), *map(str, numbers)]


class _Driver:
    """Answers as the kernel does for a USB camera: MJPG at two sizes, YUYV in a range of sizes."""

    def __init__(self, capabilities: int = 0x04200001) -> None:
        self.capabilities = capabilities

    def __call__(self, descriptor: int, number: int, buffer: bytearray) -> int:
        if number == v4l2.QUERYCAP:
            name = b"Kitchen\x1b[31m camera"
            able = self.capabilities | 0x80000000
            buffer[:] = v4l2.CAPABILITY.pack(b"uvcvideo", name, b"usb-1", 0, able, self.capabilities)
            return 0
        index = struct.unpack_from("=I", buffer)[0]
        if number == v4l2.ENUM_FMT:
            answers = [
                v4l2.FORMAT.pack(index, 1, 0, b"", int.from_bytes(name, "little")) for name in (b"MJPG", b"YUYV")
            ]
        elif number == v4l2.ENUM_FRAMESIZES:
            pixels = struct.unpack_from("=I", buffer, 4)[0]
            sizes = [(1, 640, 480, 0, 0, 0, 0), (1, 1920, 1080, 0, 0, 0, 0)]
            if pixels == int.from_bytes(b"YUYV", "little"):
                sizes = [(3, 32, 800, 2, 32, 600, 2)]
            answers = [v4l2.FRAME_SIZE.pack(index, pixels, *size) for size in sizes]
        else:
            _, pixels, width, height, *_ = v4l2.FRAME_INTERVAL.unpack(buffer)
            rates = [(1, 15), (1, 30)] if width < 1920 else [(1, 30)]
            answers = [v4l2.FRAME_INTERVAL.pack(index, pixels, width, height, 1, *rate, 0, 0, 0, 0) for rate in rates]
        if index >= len(answers):
            raise OSError(errno.EINVAL, "Invalid argument")
        buffer[:] = answers[index]
        return 0


def test_what_a_camera_tells() -> None:
    camera = v4l2.ask_camera(0, _Driver())
    assert (camera.driver, camera.bus, camera.captures) == ("uvcvideo", "usb-1", True)
    assert [(mode.pixel_format, mode.width_px, mode.height_px, mode.rates_fps) for mode in camera.modes] == [
        ("MJPG", 640, 480, (30.0, 15.0)),
        ("MJPG", 1920, 1080, (30.0,)),
        ("YUYV", 800, 600, (30.0, 15.0)),
    ]
    finding = camera_finding(Path("/dev/video0"), camera)
    assert finding is not None and "MJPG 1920x1080 at 30, 640x480 at 30; YUYV 800x600 at 30" in finding.got
    assert "\x1b" not in finding.got  # a name that would colour the terminal
    metadata_node = v4l2.ask_camera(0, _Driver(capabilities=0x04A00000))
    assert camera_finding(Path("/dev/video1"), metadata_node) is None


# --- clocks


def test_clocks(tmp_path: Path) -> None:
    now_s = 1_800_000_000.0
    _file(tmp_path / "devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
    codes = [one.code for one in check_clocks(tmp_path, lambda: 0, lambda: now_s)]
    assert codes == ["clock-ok", "clock-synchronised", "clock-slow"]
    codes = [one.code for one in check_clocks(Path("/sys"), lambda: 5, lambda: 0.0)]
    assert codes == ["clock-wrong", "clock-unsynchronised", "clock-monotonic"]
    assert check_clocks(tmp_path, lambda: None, lambda: now_s)[1].code == "clock-unknown"
    assert kernel_clock_state() in (None, 0, 1, 2, 3, 4, 5)


# --- power


def test_power(tmp_path: Path) -> None:
    assert [one.code for one in check_power(tmp_path, tmp_path, tmp_path)] == ["power-unknown"]
    cpufreq = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    _file(cpufreq / "scaling_governor", "powersave\n")
    _file(cpufreq / "scaling_driver", "cppc_cpufreq\n")
    _file(tmp_path / "lib/nvpmodel/status", "pmode:0002\n")
    _file(tmp_path / "nvpmodel.conf", "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=2 NAME=15W >\n")
    _file(tmp_path / "devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    found = _by_code(check_power(tmp_path, tmp_path, tmp_path))
    assert set(found) == {"governor-saving", "power-mode-low", "power-throttled"}
    assert found["power-mode-low"].got == "mode 2 15W"
    assert found["power-throttled"].got == "under-voltage now, throttled now"


def test_power_as_it_should_be(tmp_path: Path) -> None:
    cpufreq = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    _file(cpufreq / "scaling_governor", "powersave\n")
    _file(cpufreq / "scaling_driver", "intel_pstate\n")  # whose "powersave" clocks up under load
    _file(tmp_path / "lib/nvpmodel/status", "pmode:0000\n")
    _file(tmp_path / "devices/platform/soc/soc:firmware/get_throttled", "0\n")
    assert {one.level for one in check_power(tmp_path, tmp_path, tmp_path)} == {"ok"}


# --- cache


def test_cache(tmp_path: Path) -> None:
    found = check_caches(tmp_path / "new" / "cache")
    assert found[0].code == "cache-ok" and list((tmp_path / "new" / "cache").iterdir()) == []
    _file(tmp_path / "file", "")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/1/lsts-edge")):  # for root too
        found = check_caches(folder)
        assert (found[0].code, found[0].level) == ("cache-unwritable", "warning") and "XDG_CACHE_HOME" in found[0].fix


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert check_caches()[0].code == "cache-homeless"


# --- telemetry


def test_telemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LSTS_EDGE_TELEMETRY", raising=False)
    assert [one.code for one in check_telemetry()] == ["telemetry-off"]
    _file(tmp_path / "intel" / "openvino_ga_cid", "an id")
    monkeypatch.setenv("LSTS_EDGE_TELEMETRY", "1")
    found = _by_code(check_telemetry())
    assert set(found) == {"telemetry-off", "telemetry-variable", "telemetry-traces"}
    assert found["telemetry-traces"].fix == f"Run: rm -r {tmp_path}/intel/openvino_ga_cid"
    monkeypatch.setenv("LSTS_EDGE_TELEMETRY", "on")
    assert check_telemetry()[0].code == "telemetry-on"
