# JupyterLab with what the notebooks need (the extra `notebooks`), in the versions of constraints.txt: no server, no test
# tool. The project itself is mounted at /workshop and not copied.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# An index with builds of torch for the processor, which docker-compose.yml names; their version ends in +cpu, so pip
# prefers them.
ARG PIP_EXTRA_INDEX_URL=
COPY pyproject.toml constraints.txt requirements-no-deps.txt README.md LICENSE /tmp/workshop/
# pip installs extras of a package only, so an empty one stands in for the mounted project
RUN mkdir /tmp/workshop/workshop && touch /tmp/workshop/workshop/__init__.py \
    && python -m pip install "/tmp/workshop[notebooks]" --constraint /tmp/workshop/constraints.txt \
    && python -m pip install --no-deps --requirement /tmp/workshop/requirements-no-deps.txt \
    && python -m pip uninstall --yes graph-triton-workshop \
    && rm -r /tmp/workshop

# any user id may run it, see `user:` in docker-compose.yml; USER names it where no passwd entry does
RUN mkdir --mode=1777 /home/workshop
ENV HOME=/home/workshop USER=workshop LOGNAME=workshop PYTHONPATH=/workshop:/workshop/packages/aqlite/src PYTHONDONTWRITEBYTECODE=1
WORKDIR /workshop
EXPOSE 8888
CMD ["sh", "docker/start_jupyter.sh"]
