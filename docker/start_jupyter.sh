#!/bin/sh
# Starts JupyterLab whatever else is missing, and says what is: notebooks can be read without data and servers.

if ! python scripts/fetch_data.py; then
    echo "The data files are not all there. JupyterLab starts all the same; try again in its terminal:"
    echo "    python scripts/fetch_data.py"
fi
python - <<'PYTHON'
import socket

from workshop.settings import load_settings

settings = load_settings()
try:
    socket.create_connection((settings.triton_host, settings.triton_http_port), timeout=5).close()
except OSError as error:
    print(f"Triton does not answer at {settings.triton_host}:{settings.triton_http_port} ({error}).")
    print("Notebook 00 waits for it. On the host: docker compose ps, docker compose logs triton")
PYTHON
exec python -m jupyterlab --ip=0.0.0.0 --port=8888 --no-browser \
    --ServerApp.root_dir="$PWD" --LabApp.default_url=/lab/tree/notebooks/00_check_setup.ipynb "$@"
