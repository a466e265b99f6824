#!/bin/bash
# Serves the model under AZUREML_MODEL_DIR as SERVED_MODEL_NAME, with the options of VLLM_ARGS.
set -euo pipefail

# An MLflow model keeps its weights some folders down; the first config.json, the shallowest, is the model's.
config=$(find "${AZUREML_MODEL_DIR:?}" -name config.json -printf '%d %p\n' | sort -n | head -n 1 | cut -d ' ' -f 2-)
if [ -z "$config" ]; then
    echo "error: there is no config.json under $AZUREML_MODEL_DIR: not a model of Hugging Face transformers" >&2
    exit 78
fi

# VLLM_ARGS is a list of words, meant to be split.
# shellcheck disable=SC2086
exec python -m vllm.entrypoints.openai.api_server --port 8000 \
    --model "$(dirname "$config")" --served-model-name "${SERVED_MODEL_NAME:?}" ${VLLM_ARGS:-}
