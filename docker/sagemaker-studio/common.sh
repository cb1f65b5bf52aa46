# shellcheck shell=bash
# What the scripts of this folder share; they read it with `source`. Parameters come from the environment.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)

# of the image on this machine and in ECR
: "${IMAGE_REPOSITORY:=graph-triton-workshop-studio}"
# of the image and of its settings in Studio
: "${STUDIO_IMAGE:=graph-triton-workshop}"
: "${APP_IMAGE_CONFIG:=graph-triton-workshop-jupyterlab}"
# the commit that is built
: "${IMAGE_TAG:=$(git -C "$project" rev-parse --short=12 HEAD)}"
export IMAGE_REPOSITORY STUDIO_IMAGE APP_IMAGE_CONFIG IMAGE_TAG AWS_PAGER=""

# require NAME ...: stop unless each of these variables has a value
require() {
    local name missing=()
    for name in "$@"; do
        [ -n "${!name:-}" ] || missing+=("$name")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        echo "set ${missing[*]}, for instance: ${missing[0]}=... $0" >&2
        exit 2
    fi
}

say() { echo "==> $*"; }

# there COMMAND ...: whether a look-up finds its object; any failure but "not there" stops the script
there() {
    local said
    if said=$("$@" 2>&1 >/dev/null); then
        return 0
    fi
    case $said in
        *NotFound* | *"not found"* | *"does not exist"* | *"could not find"* | *"Could not find"*) return 1 ;;
    esac
    echo "$said" >&2
    exit 1
}

# the address of the image in the account's registry
registry() {
    local account domain=amazonaws.com
    account=$(aws sts get-caller-identity --query Account --output text)
    case $AWS_REGION in cn-*) domain=amazonaws.com.cn ;; esac
    echo "$account.dkr.ecr.$AWS_REGION.$domain"
}

# push_image: bring the built image into ECR; sets image_uri
push_image() {
    local address
    address=$(registry)
    image_uri="$address/$IMAGE_REPOSITORY:$IMAGE_TAG"
    if ! there aws ecr describe-repositories --repository-names "$IMAGE_REPOSITORY"; then
        say "making repository $IMAGE_REPOSITORY"
        aws ecr create-repository --repository-name "$IMAGE_REPOSITORY" --image-tag-mutability IMMUTABLE \
            --image-scanning-configuration '{"scanOnPush": true}' >/dev/null
    fi
    if there aws ecr describe-images --repository-name "$IMAGE_REPOSITORY" \
        --image-ids "[{\"imageTag\": \"$IMAGE_TAG\"}]"; then
        say "$image_uri is there"
        return
    fi
    say "pushing $image_uri"
    aws ecr get-login-password | docker login --username AWS --password-stdin "$address"
    docker tag "$IMAGE_REPOSITORY:$IMAGE_TAG" "$image_uri"
    docker push "$image_uri"
}

# make_image_version URI: a version of the Studio image, which new apps then use
make_image_version() {
    say "making a version of $STUDIO_IMAGE from $1"
    # the same token for the same image: a second run finds the version of the first
    aws sagemaker create-image-version --image-name "$STUDIO_IMAGE" --base-image "$1" \
        --client-token "$(printf '%s' "$1" | sha256sum | cut -c 1-32)" >/dev/null
    aws sagemaker wait image-version-created --image-name "$STUDIO_IMAGE"
}
