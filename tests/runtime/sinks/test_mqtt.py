"""Rows as MQTT messages, through a real broker."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsts_edge.errors import FileUnwritable, OptionError
from lsts_edge.runtime import Detector
from lsts_edge.runtime.loop import run_stream
from lsts_edge.runtime.sinks.outputs import Outputs
from lsts_edge.runtime.sources.arrays import ArraySource
from videos import small_clip

client = pytest.importorskip("paho.mqtt.client")
enums = pytest.importorskip("paho.mqtt.enums")


def broker_program() -> str:
    found = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if found is None:
        pytest.skip("not installed: mosquitto (Debian package mosquitto)")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """A broker that knows the user camera with the password s3cret and nobody else."""
    program, port = broker_program(), free_port()
    passwords = shutil.which("mosquitto_passwd")
    assert passwords is not None
    subprocess.run([passwords, "-b", "-c", tmp_path / "passwords", "camera", "s3cret"], check=True, capture_output=True)
    (tmp_path / "passwords").chmod(0o644)
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\npassword_file {tmp_path / 'passwords'}\nuser root\n")
    process = subprocess.Popen([program, "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    process.terminate()
    process.wait()


def test_each_frame_is_a_message(hand_made_bundle: Path, broker: int) -> None:
    messages: list[dict[str, object]] = []
    subscribed, all_here = threading.Event(), threading.Event()

    def on_message(sender: object, data: object, message: client.MQTTMessage) -> None:
        messages.append(json.loads(message.payload))
        if len(messages) == 5:
            all_here.set()

    listener = client.Client(enums.CallbackAPIVersion.VERSION2)
    listener.username_pw_set("camera", "s3cret")
    listener.on_subscribe = lambda *_: subscribed.set()
    listener.on_message = on_message
    listener.connect("127.0.0.1", broker)
    listener.loop_start()
    listener.subscribe("yard/boxes")
    assert subscribed.wait(60)
    sinks = Outputs(mqtt=f"mqtt://camera:s3cret@127.0.0.1:{broker}/yard/boxes").open(["x"])
    run_stream(Detector(hand_made_bundle), ArraySource(small_clip(5)), sinks)
    assert all_here.wait(60)
    listener.disconnect()
    listener.loop_stop()
    assert [message["frame"] for message in messages] == [0, 1, 2, 3, 4]


def test_a_wrong_password_is_told_and_not_shown(broker: int) -> None:
    with pytest.raises(FileUnwritable) as refused:
        Outputs(mqtt=f"mqtt://camera:hunter2@127.0.0.1:{broker}/yard/boxes").open(["x"])
    assert "ot authori" in str(refused.value) and "hunter2" not in str(refused.value)


def test_nobody_listens() -> None:
    with pytest.raises(FileUnwritable, match="Connection refused"):
        Outputs(mqtt=f"mqtt://127.0.0.1:{free_port()}/boxes").open(["x"])


@pytest.mark.parametrize(
    "address", ["mqtt://host", "mqtt://host/", "http://host/t", "mqtt:///t", "mqtt://h:x/t", "mqtt://h/a/#"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(OptionError, match="MQTT address"):
        Outputs(mqtt=address).open(["x"])
