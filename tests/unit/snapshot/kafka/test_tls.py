"""Files for TLS that hold something else are named, and the broker is not blamed."""

from pathlib import Path

import msgspec
import pytest
import trustme

from snapshot.kafka.settings import KafkaSettings
from snapshot.kafka.tls import fault


@pytest.mark.parametrize("name", ["ssl_cafile", "ssl_certfile"])
def test_a_file_without_a_certificate(tmp_path: Path, name: str) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("no certificate")
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", security_protocol="SSL")
    settings = msgspec.structs.replace(settings, **{name: str(place)})
    assert "KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE" in (fault(settings) or "")


def test_files_that_are_right_are_not_blamed_where_nobody_listens(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = KafkaSettings(
        bootstrap_servers="127.0.0.1:1", security_protocol="SSL", ssl_cafile=str(tmp_path / "ca.pem")
    )
    assert fault(settings) is None


def test_without_tls_nothing_is_tried() -> None:
    assert fault(KafkaSettings(bootstrap_servers="127.0.0.1:1")) is None
