"""What a failed connection is called."""

import ssl

import pytest

from edged.sinks.mqtt_connection import MqttCause, MqttError, make_tls_context
from edged.sinks.mqtt_settings import MqttTls


@pytest.mark.parametrize("kind", ["missing", "not PEM"])
@pytest.mark.parametrize("part", ["ca", "certificate"])
def test_tls_context_bad_file_is_named(tmp_path, kind, part):
    """A certificate file that cannot be used is an error that names it."""
    path = tmp_path / "file.pem"
    if kind == "not PEM":
        path.write_text("no certificate")

    with pytest.raises(MqttError, match=r"file\.pem") as raised:
        make_tls_context(MqttTls(**{part: path}))

    assert raised.value.cause is MqttCause.TLS


@pytest.mark.parametrize(("verify", "mode"), [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_NONE)])
def test_tls_context_checks_name_and_certificate_unless_told_not_to(verify, mode):
    """Verification includes the host name; old versions of TLS are refused either way."""
    context = make_tls_context(MqttTls(verify=verify))

    assert context.verify_mode is mode
    assert context.check_hostname is verify
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
