# The server with its default weights, for processors or for CUDA:
#
#   docker build -t onceread .
#   docker build -t onceread:cuda --build-arg DEVICE=cu130 .
#
# DEVICE is the name of a folder of PyTorch's index. The libraries of CUDA come with torch; the driver is the host's.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
# Debian's stable release changes for security alone, so its versions are not pinned here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*

FROM python AS dependencies
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv
WORKDIR /build
COPY constraints.txt ./
ARG DEVICE=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/${DEVICE}
# torch comes first and alone: later its requirement is met, and nothing larger is taken for it.
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY pyproject.toml ./
# What only compiles and tests torch is half as large as what computes; pip has no more to do.
RUN touch README.md \
    && pip install --constraint constraints.txt . \
    && rm -rf /opt/venv/lib/python3*/site-packages/torch/include \
        /opt/venv/lib/python3*/site-packages/torch/share \
        /opt/venv/lib/python3*/site-packages/torch/test \
        /opt/venv/lib/python3*/site-packages/torch/bin/*test* \
        /opt/venv/lib/python3*/site-packages/torch/bin/protoc* \
    && pip uninstall -y setuptools pip

FROM python AS code
COPY server /app/server
COPY model /app/model
COPY deploy/image/healthcheck.py /app/
RUN python3 -m compileall -q /app

FROM python
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Onceread" \
    org.opencontainers.image.description="Read once, ask forever: a long-context memory server" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN install -d -o 10001 -g 10001 -m 0700 /data && install -d /models
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=code /app /app
# A container has a network of its own: who may reach its port is decided where it is published. With a keys file
# (ONCEREAD_KEYS_FILE) whoever asks needs a key.
ENV ONCEREAD_HOST=0.0.0.0 \
    ONCEREAD_OPEN=true \
    ONCEREAD_STORE=sqlite:////data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000
# Reading stops at a segment's end and every memory is stored: give it more than ONCEREAD_DRAIN_SECONDS.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/venv/bin/python", "-I", "-S", "/app/healthcheck.py"]
ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]
