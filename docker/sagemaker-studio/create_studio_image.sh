#!/usr/bin/env bash
# Makes the built image known to a Studio domain, so that JupyterLab spaces can choose it. Safe to repeat.
#
#   AWS_REGION=... ROLE_ARN=... DOMAIN_ID=... docker/sagemaker-studio/create_studio_image.sh
#
# ROLE_ARN: a role that SageMaker may use to read the image. DOMAIN_ID: of the domain, d-...
# Further parameters: IMAGE_REPOSITORY, IMAGE_TAG, STUDIO_IMAGE, APP_IMAGE_CONFIG.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
require AWS_REGION ROLE_ARN DOMAIN_ID
export AWS_REGION DOMAIN_ID

push_image
if there aws sagemaker describe-image --image-name "$STUDIO_IMAGE"; then
    say "Studio image $STUDIO_IMAGE is there"
else
    say "making Studio image $STUDIO_IMAGE"
    aws sagemaker create-image --image-name "$STUDIO_IMAGE" --role-arn "$ROLE_ARN" \
        --display-name "Graph and Triton workshop" >/dev/null
    aws sagemaker wait image-created --image-name "$STUDIO_IMAGE"
fi
make_image_version "$image_uri"

# user, group and folder are those of the Dockerfile
app_config='{"FileSystemConfig": {"DefaultUid": 1000, "DefaultGid": 100, "MountPath": "/home/sagemaker-user"}}'
if there aws sagemaker describe-app-image-config --app-image-config-name "$APP_IMAGE_CONFIG"; then
    aws sagemaker update-app-image-config --app-image-config-name "$APP_IMAGE_CONFIG" \
        --jupyter-lab-app-image-config "$app_config" >/dev/null
else
    aws sagemaker create-app-image-config --app-image-config-name "$APP_IMAGE_CONFIG" \
        --jupyter-lab-app-image-config "$app_config" >/dev/null
fi

say "offering it in domain $DOMAIN_ID"
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
aws sagemaker describe-domain --domain-id "$DOMAIN_ID" --output json |
    python3 "$here/fill_domain_config.py" "$here/studio-domain-config.json" >"$settings"
aws sagemaker update-domain --cli-input-json "file://$settings" >/dev/null
say "a JupyterLab space of the domain can now choose $STUDIO_IMAGE"
