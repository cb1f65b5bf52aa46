# Triton as NVIDIA ships it, plus the Python packages that our Python-backend models import.
# docker-compose.yml says which release; it must bring a LibTorch no older than the torch in requirements.txt.
ARG TRITON_IMAGE
FROM ${TRITON_IMAGE} AS base

ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt constraints.txt /tmp/
RUN grep -E -e '^tokenizers==' -e '^pillow==' /tmp/requirements.txt > /tmp/backend-requirements.txt \
    && python3 -m pip install --requirement /tmp/backend-requirements.txt

# For the generators and classifiers of the Hub and for the vision transformer, see docker-compose.transformers.yml.
FROM base AS transformers
ARG PIP_EXTRA_INDEX_URL=
RUN grep -E -e '^torch==' -e '^transformers==' -e '^safetensors==' -e '^Jinja2==' -e '^xllamacpp==' \
        /tmp/requirements.txt > /tmp/hub-requirements.txt \
    && python3 -m pip install --requirement /tmp/hub-requirements.txt --constraint /tmp/constraints.txt
