#!/bin/sh
# Build a TensorRT plan on this machine's GPU, check it, and place it.
#
#   scripts/build_tensorrt.sh [--print] [sentence|core]
#
# sentence (the default): the sentence model of the model repository. core: the middle step of the SageMaker endpoint,
# for `scripts/sagemaker.py pack --core tensorrt`; name the endpoint's release by TENSORRT_IMAGE, for instance
# nvcr.io/nvidia/tritonserver:24.09-py3.
# The plan is built by trtexec inside Triton's own container, so that its TensorRT is the one that serves it. It is good
# for this kind of GPU and this release only. --print shows the commands, and runs and writes nothing.
# Variables: PYTHON (.venv/bin/python), TENSORRT_IMAGE (the image of docker-compose.yml), WORK (.data/tensorrt/MODEL).

set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
image=${TENSORRT_IMAGE:-$(sed -n 's/^ *TRITON_IMAGE: *//p' docker-compose.yml)}
trtexec=/usr/src/tensorrt/bin/trtexec
show=
if [ "${1:-}" = --print ]; then show=1; shift; fi
model=${1:-sentence}
case $#$model in
    0sentence | 1sentence | 1core) ;;
    *) echo "usage: $0 [--print] [sentence|core]" >&2; exit 2 ;;
esac
work=${WORK:-.data/tensorrt/$model}

contained() { # a command in the container, the work folder at /work
    docker run --rm --gpus all --volume "$(cd "$work" && pwd)":/work "$image" "$@"
}

if [ "$show" ]; then
    case $work in /*) ;; *) work=$PWD/$work ;; esac
    container="docker run --rm --gpus all --volume $work:/work $image $trtexec"
    cat <<END
$python scripts/tensorrt_plan.py prepare $model $work
$container \$(cat $work/trtexec.arguments) --skipInference
# then for each line NUMBER SHAPES INPUTS of $work/cases
$container --loadEngine=/work/model.plan SHAPES INPUTS --iterations=1 --warmUp=0 --duration=0 --exportOutput=/work/answerNUMBER.json
$python scripts/tensorrt_plan.py place $model $work --gpu GPU --tensorrt RELEASE
END
    exit 0
fi
command -v docker >/dev/null || { echo "docker is not on the PATH: plans are built in $image" >&2; exit 1; }
command -v nvidia-smi >/dev/null || { echo "no nvidia-smi here: a plan is built on the GPU that serves it" >&2; exit 1; }

"$python" scripts/tensorrt_plan.py prepare "$model" "$work"
rm -f "$work"/model.plan "$work"/answer*.json
# shellcheck disable=SC2046  # one option a line, without spaces
contained "$trtexec" $(cat "$work/trtexec.arguments") --skipInference
while read -r number shapes inputs; do
    contained "$trtexec" --loadEngine=/work/model.plan "$shapes" "$inputs" --iterations=1 --warmUp=0 --duration=0 \
        "--exportOutput=/work/answer$number.json" </dev/null
done < "$work/cases"

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
release=$(docker run --rm "$image" sh -c 'echo "${TRT_VERSION:-unknown}"')
"$python" scripts/tensorrt_plan.py place "$model" "$work" --gpu "$gpu" --tensorrt "$release"
