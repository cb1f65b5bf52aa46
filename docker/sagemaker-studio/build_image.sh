#!/usr/bin/env bash
# Builds the image for JupyterLab apps, starts it once and looks whether it answers where Studio will look.
#
#   docker/sagemaker-studio/build_image.sh
#
# Parameters: IMAGE_REPOSITORY, IMAGE_TAG, WORKSHOP_TORCH_INDEX (builds of torch for the processor),
# SKIP_CHECK=1 (do not start it).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

image="$IMAGE_REPOSITORY:$IMAGE_TAG"
say "building $image"
docker build --platform linux/amd64 --file "$here/Dockerfile" --tag "$image" \
    --build-arg "PIP_EXTRA_INDEX_URL=${WORKSHOP_TORCH_INDEX-https://download.pytorch.org/whl/cpu}" "$project"
[ -z "${SKIP_CHECK:-}" ] || exit 0

say "starting it once"
container=$(docker run --detach --rm --publish 127.0.0.1::8888 "$image")
trap 'docker stop "$container" >/dev/null' EXIT
address=$(docker port "$container" 8888/tcp)
for _ in $(seq 60); do
    if curl --fail --silent "http://$address/jupyterlab/default/api/status" >/dev/null; then
        say "it answers as Studio expects"
        exit 0
    fi
    sleep 1
done
docker logs "$container" >&2
echo "no answer at /jupyterlab/default/api/status within a minute" >&2
exit 1
