#!/bin/bash
# Trains on all hosts of a TPU slice: each host is one process, and they find each other.
#   experiments/cluster/tpu.sh NAME ZONE --model=inception_resnet --data=gs-mount/data/fer2013
# NAME: of the TPU VM; the clone lies in ~/emojax on each host, with `pip install '.[train]'
# 'jax[tpu]'` done, and data and runs on a file system that all of them see (Filestore, gcsfuse).
set -euo pipefail
name=${1:?name of the TPU VM}
zone=${2:?its zone}
shift 2
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd ~/emojax && python experiments/train.py --cluster.kind=tpu $(printf '%q ' "$@")"
