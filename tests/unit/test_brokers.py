"""Brokers that we start ourselves."""

import contextlib

import pytest

from edged import brokers
from edged.errors import InputError, SinkError


def test_open_broker_with_none_installed_says_how_to_get_one(monkeypatch):
    """The demo without any broker ends with the command to run."""
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: None)
    monkeypatch.setattr(brokers, "has_amqtt", lambda: False)

    with pytest.raises(InputError, match="apt install mosquitto"), brokers.open_broker():
        pass


@pytest.mark.parametrize("installed", ["/usr/sbin/mosquitto", None])
def test_open_broker_prefers_mosquitto(monkeypatch, installed):
    """amqtt is for machines without Mosquitto."""
    monkeypatch.setattr(brokers, "find_mosquitto", lambda: installed)
    monkeypatch.setattr(brokers, "has_amqtt", lambda: True)
    monkeypatch.setattr(brokers, "open_mosquitto", lambda *, port: contextlib.nullcontext("mosquitto"))
    monkeypatch.setattr(brokers, "open_amqtt", lambda *, port: contextlib.nullcontext("amqtt"))

    with brokers.open_broker() as opened:
        assert opened == ("mosquitto" if installed else "amqtt")


@pytest.mark.skipif(brokers.find_mosquitto() is None, reason="Mosquitto is not installed")
def test_open_mosquitto_with_settings_it_refuses_says_what_it_said():
    """A broker that ends at once is an error with its own words, not a long wait."""
    with pytest.raises(SinkError, match="no_such_setting"), brokers.open_mosquitto(settings=["no_such_setting true"]):
        pass
