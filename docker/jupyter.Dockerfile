# JupyterLab with the environment of requirements.txt. The project itself is mounted at /workshop, not copied.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.txt /tmp/requirements.txt
RUN python -m pip install --requirement /tmp/requirements.txt && rm /tmp/requirements.txt

# any user id may run it, see `user:` in docker-compose.yml
RUN mkdir --mode=1777 /home/workshop
ENV HOME=/home/workshop PYTHONPATH=/workshop PYTHONDONTWRITEBYTECODE=1
WORKDIR /workshop
EXPOSE 8888
CMD ["sh", "-c", "python scripts/fetch_data.py && exec python -m jupyterlab --ip=0.0.0.0 --port=8888 --no-browser --ServerApp.root_dir=/workshop --LabApp.default_url=/lab/tree/notebooks/00_check_setup.ipynb"]
