#!/bin/bash
# The same command on all hosts of a TPU slice (Google Cloud), for example v5e-16, four hosts:
#   TPU=my-slice ZONE=us-west4-a BUCKET=/mnt/emojax experiments/cluster/tpu.sh --model=resnet18 \
#       --data=/mnt/emojax/data/fer2013 --out=/mnt/emojax/runs/fer
# Wanted on every host: this repository in ~/emojax, with a .venv in which emojax[train] and
# `jax[tpu]` are installed, and one file system that all hosts see (BUCKET: a Filestore volume, or
# a bucket by gcsfuse) with the shards and the run's folder.

set -euo pipefail

: "${TPU:?name of the slice}" "${ZONE:?its zone}" "${BUCKET:?folder that all hosts see}"

# Arguments as the shell on the hosts has to see them.
arguments=$(printf '%q ' "$@")

# --worker=all: one process on each host. kind=tpu: JAX asks the metadata server who is who, and
# each process takes the host's chips. Given again after a failure, the command goes on from the
# newest checkpoint, on another slice too.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
    set -e
    mountpoint -q $(printf '%q' "$BUCKET")
    cd ~/emojax
    exec .venv/bin/python -u experiments/train.py --cluster.kind=tpu $arguments
"
