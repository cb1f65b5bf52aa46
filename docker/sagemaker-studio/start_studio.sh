#!/bin/sh
# Starts JupyterLab as a Studio app expects it: port 8888, base address /jupyterlab/default, Studio itself asks who is
# there. The first start copies the project into the user's folder, where notebooks can be changed and weights written.
set -eu

workshop="$HOME/workshop"
if [ ! -d "$workshop" ]; then
    cp -r /opt/workshop "$workshop.new"
    mv "$workshop.new" "$workshop"
fi
cd "$workshop"
exec python -m jupyterlab --ServerApp.ip=0.0.0.0 --ServerApp.port=8888 --ServerApp.open_browser=False \
    --ServerApp.base_url=/jupyterlab/default --ServerApp.token= --ServerApp.password= \
    --ServerApp.allow_origin='*' --ServerApp.root_dir="$HOME" "$@"
