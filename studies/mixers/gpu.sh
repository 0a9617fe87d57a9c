#!/usr/bin/env bash
# The questions of docs/evidence.md on one GPU (NVIDIA, H100 class): pico on Fashion-MNIST, all seeds
# of a row in one process.
#
#   bash studies/mixers/gpu.sh [FOLDER] [PART...]     parts: accuracy tuning rates gates cues bands
#
# Without parts: images a second of every row, then six rows of three seeds and thirty epochs. Made to
# fit into 8 minutes of an H100, which was not measured. What is finished is kept: after a break, or
# when LIMIT (seconds for this call, default 480) is over, the same command goes on. Results go to
# FOLDER (default runs/evidence_gpu), a folder per part; PYTHON chooses the interpreter, DATA the
# folder of Fashion-MNIST, SCALE and DEVICE something smaller to try it with.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
out=${1:-runs/evidence_gpu}
shift || true
python=${PYTHON:-python3}
limit=${LIMIT:-480}
scale=${SCALE:-gpu}
device=${DEVICE:-cuda}
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spanetv2-evidence}
export PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}"
export TORCHINDUCTOR_CACHE_DIR="$cache/inductor" TRITON_CACHE_DIR="$cache/triton"

if [ "$device" = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: $python sees no GPU, expected PyTorch with CUDA" >&2
    exit 1
fi
data=()
[ -z "${DATA:-}" ] || data=(--root "$DATA")

declare -A updates  # of a run, where it is not the scale's thirty epochs
if [ "$scale" = gpu ]; then
    updates=([tuning]=2340 [rates]=936 [gates]=4680 [cues]=2000 [bands]=4680)
fi

study() { "$python" -m studies.evidence "$@" --scale "$scale" --device "$device" "${data[@]}"; }

parts=("$@")
if [ "${#parts[@]}" = 0 ]; then
    [ -s "$out/throughput.csv" ] || study throughput --out "$out/throughput.csv" ${WARMUP:+--warmup "$WARMUP"} ${TIMED:+--updates "$TIMED"}
    parts=(accuracy)
fi
for part in "${parts[@]}"; do
    left=$((limit - SECONDS))
    if [ "$left" -lt 1 ]; then
        echo "the time is up before part $part; the same command goes on" >&2
        exit 1
    fi
    length=${UPDATES:-${updates[$part]:-}}
    study run --part "$part" --out "$out" --minutes "$(awk "BEGIN {print $left / 60}")" \
        --updates "${length:-$([ "$scale" = gpu ] && echo 14040 || echo 500)}"
done
"$python" -m studies.evidence report "$out" --out "$out/report"
