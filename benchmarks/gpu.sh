#!/usr/bin/env bash
# Every GPU figure of docs/performance.md, in less than 10 minutes on one GPU (NVIDIA, H100 class):
# bfloat16, batch 128, 224 x 224, channels last; and the fused operator beside its memory floor.
#
#   bash benchmarks/gpu.sh [FOLDER]        results go to FOLDER (default benchmarks/results)
#
# PYTHON chooses the interpreter; the package itself need not be installed, its dependencies must
# be. The parts run in order of importance, each in the time that is left (LIMIT seconds in all,
# default 570). A part that is cut off leaves no file, and the exit status is then 1.
set -uo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/benchmarks/results}
python=${PYTHON:-python3}
limit=${LIMIT:-570}
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
failed=0

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: $python sees no GPU, expected PyTorch with CUDA" >&2
    exit 1
fi
mkdir -p "$out"

measure() {  # NAME ARGUMENTS...: one result file
    local name=$1 left=$((limit - SECONDS))
    shift
    if [ "$left" -lt 20 ]; then
        echo "skipped $name: the time is up" >&2
        failed=1
        return
    fi
    printf '\n== %s (%d s so far)\n' "$name" "$SECONDS"
    timeout "$left" "$python" -c 'from spanetv2.cli.main import main; main()' benchmark "$@" \
        --device cuda --channels-last --out "$out/$name.json" || {
        echo "failed or cut off: $name" >&2
        failed=1
    }
}

bf16=(--dtype bfloat16 --batch 128)
compiled=("${bf16[@]}" --mode compiled --rounds 20 --warmup 3)
peers=(spanetv2_s18_pure spanetv2_s18_pure@reference convformer_s18)
local=(--operators local local@fused local@reference sepconv --reference sepconv)

measure gpu_operators "${local[@]}" "${bf16[@]}" --mode eager --pass inference --rounds 30
measure gpu_inference "${peers[@]}" spanetv2_s18_pure@optimized "${compiled[@]}" --pass inference
measure gpu_training "${peers[@]}" "${compiled[@]}" --pass training
measure gpu_fused spanetv2_s18_pure@fused convformer_s18 "${compiled[@]}" --pass inference
measure gpu_fused_training spanetv2_s18_pure@fused convformer_s18 "${compiled[@]}" --pass training
measure gpu_operators_training "${local[@]}" "${bf16[@]}" --mode eager --pass training --rounds 30
measure gpu_sizes spanetv2_s18_pure convformer_s18 "${bf16[@]}" --keep-pixels \
    --size 224 --size 384 --size 512 --size 768 --size 1024 --mode eager --pass inference --rounds 15
measure gpu_hybrid spanetv2_s18_hybrid caformer_s18 "${compiled[@]}" --pass inference

printf '\n%d s in all; now make the page:\n' "$SECONDS"
echo "python -m studies.performance"
exit "$failed"
