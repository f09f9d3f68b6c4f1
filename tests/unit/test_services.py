"""What a missing server does to a test: skipped on a laptop, failed where nothing may be missing."""

import pytest

from support import services


def test_a_missing_server_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("SNAPSHOT_TEST_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Kafka here"):
        services.missing("no Kafka here")


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("SNAPSHOT_TEST_SERVERS", "docker")])
def test_it_fails_where_nothing_may_be_missing(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(pytest.fail.Exception, match="no Kafka here"):
        services.missing("no Kafka here")


def test_an_unknown_kind_of_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPSHOT_TEST_SERVERS", "podman")
    with pytest.raises(pytest.fail.Exception, match="say docker or native"):
        services.missing("no Kafka here")
