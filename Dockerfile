# syntax=docker/dockerfile:1
# Images of Classyard, each with only what it needs, from the lock files:
#   docker build --target producer    commands, migrations, metrics; no pixels, no network
#   docker build --target flower      the same and Flower
#   docker build --target web         the web page; no TensorFlow
#   docker build --target worker      CPU worker on LiteRT, no TensorFlow (the default)
#   docker build --target worker-gpu  GPU worker on TensorFlow with its own CUDA libraries
# Models are converted while building (--build-arg MODELS="digits mobilenet_v2"), or mounted at run time.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS python
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Everything that is installed lies in /opt/classyard and is copied whole into the image that runs.
FROM python AS build
WORKDIR /src
COPY locks/ locks/
RUN python -m venv /opt/classyard \
    && /opt/classyard/bin/pip install --require-hashes -r locks/producer.txt
COPY pyproject.toml README.md LICENSE ./
COPY core/ core/
COPY db/ db/
COPY broker/ broker/
COPY producer/ producer/
COPY worker/ worker/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r locks/build.txt \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/classyard/bin/pip install --no-deps /wheels/*.whl

FROM build AS build-flower
RUN /opt/classyard/bin/pip install --require-hashes -r locks/flower.txt

FROM build AS build-worker
RUN /opt/classyard/bin/pip install --require-hashes -r locks/worker.txt

FROM build AS build-web
RUN /opt/classyard/bin/pip install --require-hashes -r locks/web.txt

FROM build AS build-gpu
RUN /opt/classyard/bin/pip install --require-hashes -r locks/gpu.txt

# Converts and checks the models; only what it made goes on. An image that runs can prepare none: its
# file system is read-only.
FROM build AS models
ARG MODELS=digits
ENV CLASSYARD_HOME=/var/lib/classyard CLASSYARD_ENGINE=litert KERAS_HOME=/var/lib/classyard/keras
RUN /opt/classyard/bin/pip install --require-hashes -r locks/tensorflow.txt
RUN for model in ${MODELS}; do /opt/classyard/bin/classyard models check "$model" || exit 1; done

# The same for the engine of GPUs; it is checked on the CPU here, and by each worker on its GPU.
FROM build-gpu AS models-gpu
ARG MODELS=digits
ENV CLASSYARD_HOME=/var/lib/classyard CLASSYARD_ENGINE=keras KERAS_HOME=/var/lib/classyard/keras
RUN for model in ${MODELS}; do /opt/classyard/bin/classyard models check "$model" || exit 1; done

# What all running images share: a user without rights, nothing writable but /tmp and what is mounted.
FROM python AS run
RUN groupadd --gid 10001 classyard \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/classyard --create-home --skel /dev/null classyard
ENV PATH=/opt/classyard/bin:$PATH CLASSYARD_HOME=/var/lib/classyard
WORKDIR /var/lib/classyard
USER 10001:10001
ENTRYPOINT ["classyard"]
CMD ["--help"]

FROM run AS producer
COPY --from=build /opt/classyard /opt/classyard

FROM run AS flower
COPY --from=build-flower /opt/classyard /opt/classyard
CMD ["flower"]

FROM run AS web
COPY --from=build-web /opt/classyard /opt/classyard
COPY --from=models --chown=10001:10001 /var/lib/classyard /var/lib/classyard
# Dropped pictures are kept here: a volume begins with this folder's owner.
RUN mkdir -p /var/lib/classyard/pictures
ENV KERAS_HOME=/var/lib/classyard/keras
CMD ["web"]

FROM run AS worker-gpu
COPY --from=build-gpu /opt/classyard /opt/classyard
COPY --from=models-gpu --chown=10001:10001 /var/lib/classyard /var/lib/classyard
ENV CLASSYARD_ENGINE=keras KERAS_HOME=/var/lib/classyard/keras
# SIGTERM: take nothing more, finish or hand back what is in work within CLASSYARD_GRACE.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=120s --retries=3 \
    CMD ["classyard", "doctor", "--worker"]
CMD ["worker"]

FROM run AS worker
COPY --from=build-worker /opt/classyard /opt/classyard
COPY --from=models --chown=10001:10001 /var/lib/classyard /var/lib/classyard
ENV CLASSYARD_ENGINE=litert KERAS_HOME=/var/lib/classyard/keras
STOPSIGNAL SIGTERM
# Healthy means that this host's worker lives and takes what waits, not that a process exists.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 \
    CMD ["classyard", "doctor", "--worker"]
CMD ["worker"]
