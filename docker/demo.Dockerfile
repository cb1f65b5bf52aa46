# The demo with what it needs (the extra `demo`), in the versions of constraints.txt: no torch, as models run in Triton.
# The library, its entry and the model repository, for the tokenizers in it, are mounted and not copied.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml constraints.txt README.md LICENSE /tmp/workshop/
# pip installs extras of a package only, so an empty one stands in for the mounted project
RUN mkdir /tmp/workshop/workshop && touch /tmp/workshop/workshop/__init__.py \
    && python -m pip install "/tmp/workshop[demo]" --constraint /tmp/workshop/constraints.txt \
    && python -m pip uninstall --yes graph-triton-workshop \
    && rm -r /tmp/workshop

RUN mkdir --mode=1777 /home/workshop
ENV HOME=/home/workshop PYTHONPATH=/workshop PYTHONDONTWRITEBYTECODE=1 WORKSHOP_PROJECT_ROOT=/workshop
WORKDIR /workshop
EXPOSE 8020
CMD ["python", "scripts/demo.py", "--host", "0.0.0.0", "--port", "8020"]
