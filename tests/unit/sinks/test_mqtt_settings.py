"""Settings of the broker."""

import pytest

from edged.sinks.mqtt_settings import MqttSettings


def test_settings_password_is_not_in_the_representation():
    """Logging settings gives no secret away."""
    assert "hunter2" not in repr(MqttSettings(host="h", device="d", password="hunter2"))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"host": ""}, id="no host"),
        pytest.param({"device": ""}, id="no device"),
        pytest.param({"qos_event": 2}, id="qos 2"),
        pytest.param({"qos_state": -1}, id="qos below 0"),
        pytest.param({"queue_limit": 0}, id="no queue"),
        pytest.param({"keepalive_s": 0}, id="no keepalive"),
    ],
)
def test_settings_impossible_are_refused(wrong):
    """What no connection could be made with is refused when it is made."""
    with pytest.raises(ValueError, match="must"):
        MqttSettings(**{"host": "h", "device": "d", **wrong})


@pytest.mark.parametrize(
    ("settings", "client_id"),
    [
        pytest.param({}, "edged-gate", id="from prefix and device"),
        pytest.param({"prefix": "site/one"}, "site-one-gate", id="without slashes"),
        pytest.param({"client_id": "mine"}, "mine", id="given"),
    ],
)
def test_settings_client_id_names_the_device(settings, client_id):
    """Every device has an id of its own without anybody having to think of it."""
    assert MqttSettings(**{"host": "h", "device": "gate", **settings}).wire_client_id == client_id
