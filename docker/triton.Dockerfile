# Triton as NVIDIA ships it, plus the Python packages that our Python-backend models import.
# docker-compose.yml says which release; it must bring a LibTorch no older than the torch in requirements.txt.
ARG TRITON_IMAGE
FROM ${TRITON_IMAGE}

ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt /tmp/requirements.txt
RUN grep -E -e '^tokenizers==' -e '^pillow==' /tmp/requirements.txt > /tmp/backend-requirements.txt \
    && python3 -m pip install --requirement /tmp/backend-requirements.txt \
    && rm /tmp/requirements.txt /tmp/backend-requirements.txt
