FROM python:3.13-slim
# Where this was built from is known to whoever builds it: --build-arg SOURCE=https://… --build-arg REVISION=$(git rev-parse HEAD)
ARG SOURCE="" REVISION=""
LABEL org.opencontainers.image.title="Signal Identity Snapshotter" \
      org.opencontainers.image.description="One JSON profile for each member of each imported Signal group, current within two seconds and provably equal to the database" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.vendor="The Signal Identity Snapshotter contributors" \
      org.opencontainers.image.url="https://github.com/gulkily/whiteballoon" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION"
ENV PYTHONUNBUFFERED=1 \
    SNAPSHOT_STORAGE_DIR=/storage
RUN useradd --system --uid 10001 --no-create-home snapshot \
 && install -d -o snapshot -m 0750 /storage
RUN --mount=type=bind,target=/source,rw --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --disable-pip-version-check --root-user-action=ignore '/source[librdkafka]'
USER snapshot
WORKDIR /storage
VOLUME /storage
# By the process' own sign of life alone: an outage of Redis, Kafka or PostgreSQL makes no container unhealthy.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --start-interval=3s --retries=2 \
    CMD ["snapshot-admin", "status", "--health"]
CMD ["snapshot-consumer"]
