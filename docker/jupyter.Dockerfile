# JupyterLab with the environment of requirements.txt. The project itself, whose two packages are its `-e` lines, is
# mounted at /workshop and not copied.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# An index with builds of torch for the processor, see README.md; without it the build that PyPI has is installed.
ARG PIP_EXTRA_INDEX_URL=
COPY requirements.txt constraints.txt /tmp/
RUN grep -v '^-e ' /tmp/requirements.txt > /tmp/packages.txt \
    && python -m pip install --requirement /tmp/packages.txt --constraint /tmp/constraints.txt \
    && rm /tmp/requirements.txt /tmp/constraints.txt /tmp/packages.txt

# any user id may run it, see `user:` in docker-compose.yml
RUN mkdir --mode=1777 /home/workshop
ENV HOME=/home/workshop PYTHONPATH=/workshop:/workshop/packages/aqlite/src PYTHONDONTWRITEBYTECODE=1
WORKDIR /workshop
EXPOSE 8888
CMD ["sh", "-c", "python scripts/fetch_data.py && exec python -m jupyterlab --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir=/workshop --LabApp.default_url=/lab/tree/notebooks/00_check_setup.ipynb"]
