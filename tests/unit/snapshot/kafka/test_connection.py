import pytest

from projections.errors import OperatorError
from snapshot.kafka.connection import probe
from snapshot.kafka.settings import KafkaSettings


@pytest.mark.parametrize("host", ["a" * 300, "a..b", "\udcff"])
def test_a_name_that_no_host_can_have_is_refused_with_the_setting(host: str) -> None:
    with pytest.raises(OperatorError, match=r"correct KAFKA_BOOTSTRAP_SERVERS="):
        probe(KafkaSettings(bootstrap_servers=f"{host}:9092"))
