# Two stages: the first has what installing needs, the second only what running needs.
# By digest, so that the same files come with every build. A newer one is shown by
# `docker buildx imagetools inspect python:3.11-slim-bookworm`. Any image with bash and a Python of
# at least 3.11 with venv will do: `make image-test BASE=...`.
ARG BASE=python:3.11.16-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84
# hadolint ignore=DL3006
FROM ${BASE} AS base

FROM base AS build
WORKDIR /app
RUN python3 -m venv /app/.venv
COPY requirements/base.txt requirements/production.txt requirements/tracing.txt requirements/
# pip goes again: what is not in the image cannot be misused, nor be out of date.
RUN /app/.venv/bin/pip install --no-cache-dir --only-binary :all: --require-hashes \
        -r requirements/base.txt -r requirements/production.txt -r requirements/tracing.txt \
    && /app/.venv/bin/pip uninstall --yes setuptools pip

FROM base
# Group 0, as OpenShift runs containers with a user id of its own choice, and with this group. So
# what lies in /data belongs to the group, too.
RUN rm -rf /usr/local/lib/python3*/site-packages/* /usr/local/bin/pip* \
        /usr/local/lib/python3*/ensurepip \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /data --shell /usr/sbin/nologin store \
    && mkdir -m 770 /data \
    && chown 10001:0 /data
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY manage.py ./
COPY config config
COPY storage storage
COPY chat chat
# Bytecode now, because the folder is read-only later.
RUN /app/.venv/bin/python -m compileall -q config storage chat
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Chat interaction store" \
      org.opencontainers.image.description="Keeps chat interactions with language models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:0
VOLUME /data
EXPOSE 8000
# Bash speaks HTTP here, since starting Python takes a hundred times the CPU.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 4 _ status _ <&3 && [ \"$status\" = 200 ]"]
CMD ["python", "manage.py", "serve"]
