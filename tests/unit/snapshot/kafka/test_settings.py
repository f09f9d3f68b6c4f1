import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.errors import OperatorError
from snapshot.kafka import settings
from snapshot.kafka.settings import KAFKA_PYTHON, LIBRDKAFKA, KafkaSettings

SERVERS = {"KAFKA_BOOTSTRAP_SERVERS": "a:9092, b:9093"}
SASL = SERVERS | {
    "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "KAFKA_SASL_MECHANISM": "scram-sha-512",
    "KAFKA_SASL_USERNAME": "u",
    "KAFKA_SASL_PASSWORD": "secret",
}


def test_without_servers_there_is_no_kafka() -> None:
    assert KafkaSettings.from_environment({}) is None
    assert KafkaSettings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": " "}) is None


def test_plain_text_needs_servers_only() -> None:
    options = options_of(SERVERS)
    assert options["bootstrap_servers"] == ["a:9092", "b:9093"]
    assert options["security_protocol"] == "PLAINTEXT"
    assert not [name for name in options if name.startswith(("sasl", "ssl"))]


def test_sasl_over_tls() -> None:
    options = options_of(SASL | {"KAFKA_SSL_CAFILE": __file__, "KAFKA_SSL_CHECK_HOSTNAME": "no"})
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "secret")
    assert (options["ssl_cafile"], options["ssl_check_hostname"]) == (__file__, False)


def test_the_host_name_is_checked_unless_that_is_said() -> None:
    assert options_of(SERVERS | {"KAFKA_SECURITY_PROTOCOL": "SSL"})["ssl_check_hostname"] is True


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(KafkaSettings.from_environment(SASL))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka"}, "'kafka' is not host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka://a:9092"}, "without a scheme"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "b:1,ann:secret@a:9092"}, "names a user: say host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "sasl://ann:secret@a"}, "names a user: say host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:99999"}, "'a:99999' is not host:port"),
        ({"KAFKA_BOOTSTRAP_SERVERS": ","}, "names no server"),
        ({"KAFKA_CLIENT": "rdkafka"}, "KAFKA_CLIENT=rdkafka: say one of kafka-python, librdkafka"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL=TLS: say one of PLAINTEXT"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM=GSSAPI: say one of"),
        ({"KAFKA_SASL_PASSWORD": ""}, "needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SECURITY_PROTOCOL": ""}, "need KAFKA_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT: it is PLAINTEXT"),
        ({"KAFKA_SSL_CHECK_HOSTNAME": "maybe"}, "KAFKA_SSL_CHECK_HOSTNAME=maybe: say one of"),
        ({"KAFKA_SSL_CAFILE": "/nowhere/ca.pem"}, "KAFKA_SSL_CAFILE=/nowhere/ca.pem: there is no such file"),
    ],
)
def test_what_cannot_be_meant_is_one_line_with_the_way_out(changed: dict[str, str], said: str) -> None:
    with pytest.raises(OperatorError) as caught:
        KafkaSettings.from_environment(SASL | changed)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def without_librdkafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where confluent-kafka was never installed."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    settings.librdkafka_is_installed.cache_clear()
    yield
    settings.librdkafka_is_installed.cache_clear()


def test_librdkafka_is_taken_where_it_is_installed() -> None:
    assert chosen({}) == LIBRDKAFKA
    assert chosen({"KAFKA_CLIENT": "kafka-python"}) == KAFKA_PYTHON


@pytest.mark.usefixtures("without_librdkafka")
def test_kafka_python_is_taken_where_librdkafka_is_not_installed() -> None:
    assert chosen({}) == KAFKA_PYTHON
    with pytest.raises(OperatorError, match=r"KAFKA_CLIENT=librdkafka: .*pip install '\.\[librdkafka\]'"):
        chosen({"KAFKA_CLIENT": "librdkafka"})


def test_the_same_in_librdkafkas_names() -> None:
    found = KafkaSettings.from_environment(SASL | {"KAFKA_SSL_CERTFILE": __file__, "KAFKA_SSL_CHECK_HOSTNAME": "no"})
    assert found is not None
    assert found.librdkafka_options() == {
        "bootstrap.servers": "a:9092,b:9093",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "secret",
        "ssl.ca.location": "probe",
        "ssl.certificate.location": __file__,
        "ssl.key.location": __file__,
        "ssl.endpoint.identification.algorithm": "none",
    }


def chosen(environment: dict[str, str]) -> str:
    found = KafkaSettings.from_environment(SERVERS | environment)
    assert found is not None
    return found.chosen_client


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is no such file"):
        KafkaSettings.from_environment(SERVERS | {"KAFKA_SSL_CERTFILE": str(tmp_path)})


def options_of(environment: dict[str, str]) -> dict[str, object]:
    found = KafkaSettings.from_environment(environment)
    assert found is not None
    return found.options()
