# The demo's image with the code and the tokenizers in it, for clusters: it runs the demo and the API.
# What it must not hold, the models' weights among it, stands in services.Dockerfile.dockerignore.
#   docker compose --profile demo build demo
#   docker build --file docker/services.Dockerfile --tag registry.example.org/workshop/services:0.1.0 .
ARG DEMO_IMAGE=graph-triton-workshop-demo
FROM ${DEMO_IMAGE}

COPY workshop /workshop/workshop
COPY scripts /workshop/scripts
COPY model_repository /workshop/model_repository
USER 1000:1000
