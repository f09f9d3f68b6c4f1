FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 \
    SNAPSHOT_STORAGE_DIR=/storage
RUN useradd --system --uid 10001 --no-create-home snapshot \
 && install -d -o snapshot -m 0750 /storage
RUN --mount=type=bind,target=/source,rw --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --disable-pip-version-check --root-user-action=ignore '/source[librdkafka]'
USER snapshot
WORKDIR /storage
VOLUME /storage
CMD ["snapshot-consumer"]
