#!/usr/bin/env bash
# Brings a newly built image into Studio as the next version; spaces use it when their app starts again.
#
#   AWS_REGION=... docker/sagemaker-studio/update_studio_image.sh
#
# Parameters: IMAGE_REPOSITORY, IMAGE_TAG, STUDIO_IMAGE.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require AWS_REGION
export AWS_REGION

if ! there aws sagemaker describe-image --image-name "$STUDIO_IMAGE"; then
    echo "Studio has no image $STUDIO_IMAGE: run create_studio_image.sh first" >&2
    exit 1
fi
push_image
make_image_version "$image_uri"
say "new version: $(aws sagemaker describe-image-version --image-name "$STUDIO_IMAGE" --query Version --output text)"
