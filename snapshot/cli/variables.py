"""The environment variables that mean something, so that a misspelt one is named instead of ignored."""

import difflib
from collections.abc import Mapping

import structlog

from projections.errors import OperatorError

log = structlog.get_logger()

KNOWN = frozenset(
    """
    DATABASE_URL INSIGHTS_DATABASE_URL REDIS_URL GROUP_SLUG PROFILE_SIGNAL_GLAZE
    SNAPSHOT_STORAGE_DIR SNAPSHOT_OUTPUT_DIR SNAPSHOT_FILE_MODE SNAPSHOT_FOLDER_DAYS SNAPSHOT_ALIVE_FILE
    SNAPSHOT_DEBOUNCE SNAPSHOT_SCHEDULE SNAPSHOT_WAIT SNAPSHOT_WORKERS SNAPSHOT_LOG_FORMAT SNAPSHOT_LOG_LEVEL
    SNAPSHOT_WEB_HOST SNAPSHOT_WEB_PORT SNAPSHOT_WEB_NAMES SNAPSHOT_WEB_TOKEN
    SNAPSHOT_DEMO_URL
    RELAY_INTERVAL RELAY_SWEEP_INTERVAL RELAY_SWEEP_ROWS_PER_SECOND STATSD_HOST STATSD_PORT STATSD_GAUGES
    KAFKA_BOOTSTRAP_SERVERS KAFKA_SECURITY_PROTOCOL KAFKA_SASL_MECHANISM KAFKA_SASL_USERNAME KAFKA_SASL_PASSWORD
    KAFKA_SSL_CAFILE KAFKA_SSL_CERTFILE KAFKA_SSL_KEYFILE KAFKA_SSL_PASSWORD KAFKA_SSL_CHECK_HOSTNAME
    KAFKA_GROUP_ID KAFKA_GROUP_INSTANCE_ID KAFKA_CLIENT
    TZ NOTIFY_SOCKET
    """.split()  # noqa: SIM905 - as a page lists them
)
"""All that any of our programs reads; they are often set for all of them together."""
_PREFIXES = ("SNAPSHOT_", "RELAY_", "STATSD_", "KAFKA_", "PROFILE_SIGNAL_")
_PATHS = ("SNAPSHOT_STORAGE_DIR", "SNAPSHOT_OUTPUT_DIR")


def check_variables(environment: Mapping[str, str]) -> None:
    """Name what looks like ours and means nothing. Raises OperatorError for an empty path: `$DIR` that was not set."""
    for name in _PATHS:
        if name in environment and not environment[name].strip():
            raise OperatorError(f"{name} is set and empty; set it to a path, or unset it")
    for name in sorted(environment):
        if name.startswith(_PREFIXES) and name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            log.warning("an environment variable looks like ours and means nothing", name=name, near=near)
