# Two stages: the first has what installing needs, the second only what running needs.
# By digest, so that the same files come with every build. A newer one is shown by
# `docker buildx imagetools inspect python:3.11-slim-bookworm`.
FROM python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84 AS base

FROM base AS build
WORKDIR /app
RUN python -m venv /app/.venv
COPY requirements/base.txt requirements/production.txt requirements/
RUN /app/.venv/bin/pip install --no-cache-dir --require-hashes \
    -r requirements/base.txt -r requirements/production.txt

FROM base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin store \
    && mkdir -m 700 /data \
    && chown store /data
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY manage.py ./
COPY config config
COPY storage storage
COPY chat chat
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["/app/.venv/bin/python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=2)"]
CMD ["/app/.venv/bin/python", "manage.py", "serve"]
