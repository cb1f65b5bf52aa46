# JupyterLab with the environment of requirements.txt. The project itself, whose two packages are its `-e` lines, is
# mounted at /workshop and not copied.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# An index with builds of torch for the processor, which docker-compose.yml names; their version ends in +cpu, so pip
# prefers them.
ARG PIP_EXTRA_INDEX_URL=
COPY requirements.txt constraints.txt /tmp/
RUN grep -v '^-e ' /tmp/requirements.txt > /tmp/packages.txt \
    && python -m pip install --requirement /tmp/packages.txt --constraint /tmp/constraints.txt \
    && rm /tmp/requirements.txt /tmp/constraints.txt /tmp/packages.txt

# any user id may run it, see `user:` in docker-compose.yml; USER names it where no passwd entry does
RUN mkdir --mode=1777 /home/workshop
ENV HOME=/home/workshop USER=workshop LOGNAME=workshop PYTHONPATH=/workshop:/workshop/packages/aqlite/src PYTHONDONTWRITEBYTECODE=1
WORKDIR /workshop
EXPOSE 8888
CMD ["sh", "docker/start_jupyter.sh"]
