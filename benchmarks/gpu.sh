#!/usr/bin/env bash
# Every GPU figure of docs/performance.md, on one GPU (NVIDIA, H100 class): three parts of at most 8
# minutes each. They are judged by studies/performance/gpu_goals.py.
#
#   bash benchmarks/gpu.sh 1 [FOLDER]   parity; S18 pure beside ConvFormer-S18, compiled, both passes
#   bash benchmarks/gpu.sh 2 [FOLDER]   eager, CUDA graphs, hybrid beside CAFormer-S18
#   bash benchmarks/gpu.sh 3 [FOLDER]   operators, settings of the kernels, grids above 64
#
# Results go to FOLDER (default benchmarks/results). PYTHON chooses the interpreter; the package
# itself need not be installed, its dependencies must be. What was compiled is kept in CACHE (default
# ~/.cache/spanetv2-gpu) for the next part. A part runs in order of importance, each step in the time
# that is left (LIMIT seconds in all, default 480). A step that fails or is cut off leaves no file or
# what it had by then, and the exit status is then 1.
set -uo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
part=${1:-}
out=${2:-$root/benchmarks/results}
python=${PYTHON:-python3}
limit=${LIMIT:-480}
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spanetv2-gpu}
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
export TORCHINDUCTOR_CACHE_DIR="$cache/inductor" TRITON_CACHE_DIR="$cache/triton"
export TORCHINDUCTOR_COMPILE_THREADS=4  # several networks are compiled at once
failed=0

case $part in 1 | 2 | 3) ;; *)
    echo "error: got part '$part', expected 1, 2 or 3: bash benchmarks/gpu.sh PART [FOLDER]" >&2
    exit 2
    ;;
esac
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: $python sees no GPU, expected PyTorch with CUDA" >&2
    exit 1
fi
mkdir -p "$out/settings" "$cache"

step() {  # NAME COMMAND...: in the time that is left
    local name=$1 left=$((limit - SECONDS))
    shift
    left=$((left < ${cap:-left} ? left : ${cap:-left}))
    if [ "$left" -lt 20 ]; then
        echo "skipped $name: the time is up" >&2
        failed=1
        return
    fi
    printf '\n== %s (%d s so far)\n' "$name" "$SECONDS"
    timeout "$left" "$@" || {
        echo "failed or cut off: $name" >&2
        failed=1
    }
}

spanetv2() { "$python" -c 'from spanetv2.cli.main import main; main()' "$@"; }
export -f spanetv2
export python

measure() {  # NAME ARGUMENTS...: one result file of `spanetv2 benchmark`
    local name=$1
    shift
    step "$name" bash -c 'spanetv2 benchmark "$@"' _ "$@" "${bf16[@]}" --device cuda \
        --channels-last --out "$out/$name.json"
}

warm() {  # ARGUMENTS...: compile every network at once, each in a process of its own
    local network
    for network in "${networks[@]}"; do
        timeout $((limit - SECONDS)) bash -c 'spanetv2 benchmark "$@"' _ "$network" "$@" \
            "${bf16[@]}" --device cuda --channels-last --rounds 1 --warmup 0 \
            --out "$cache/warm_$network.json" > "$cache/warm_$network.log" 2>&1 &
    done
    wait
    printf '   compiled %s by %d s\n' "${networks[*]}" "$SECONDS"
}

bf16=(--dtype bfloat16 --batch 128)
pure=spanetv2_s18_pure
hybrid=spanetv2_s18_hybrid

if [ "$part" = 1 ]; then
    networks=("$pure@fused" "$pure@fused_optimized" "$pure" "$pure@reference" convformer_s18)
    warm --mode compiled &
    cap=200 step gpu_parity "$python" "$root/benchmarks/gpu_parity.py" --out "$out/gpu_parity.json"
    wait
    measure gpu_training "$pure@fused" "$pure" "$pure@reference" convformer_s18 \
        --reference convformer_s18 --mode compiled --pass training --rounds 15 --warmup 3
    measure gpu_inference "${networks[@]}" --reference convformer_s18 --mode compiled \
        --pass inference --rounds 20 --warmup 3
elif [ "$part" = 2 ]; then
    networks=("$pure@fused" "$pure" convformer_s18)
    measure gpu_eager "${networks[@]}" --reference convformer_s18 --mode eager --rounds 15 --warmup 3
    networks=("$hybrid@fused" "$hybrid@fused_optimized" "$hybrid@reference" caformer_s18)
    warm --mode compiled --pass inference
    measure gpu_hybrid "${networks[@]}" --reference caformer_s18 --mode compiled --mode graphs \
        --pass inference --rounds 15 --warmup 3
    networks=("$pure@fused" "$pure@fused_optimized" "$pure@reference" convformer_s18)
    warm --mode graphs --pass inference
    measure gpu_graphs "${networks[@]}" --reference convformer_s18 --mode graphs \
        --pass inference --rounds 20 --warmup 3
else
    measure gpu_operators --operators local@fused local project@fused project spam@fused spam \
        sepconv --reference sepconv --mode eager --rounds 20
    networks=("$pure@fused" convformer_s18)
    warm --mode compiled --keep-pixels --size 224 --size 384 --size 512
    measure gpu_sizes "${networks[@]}" --reference convformer_s18 --mode compiled --keep-pixels \
        --size 224 --size 384 --size 512 --rounds 10
    step gpu_features "$python" "$root/benchmarks/gpu_features.py" --out "$out/gpu_features.json"
    step gpu_settings "$python" "$root/benchmarks/gpu_settings.py" --seconds $((limit - SECONDS - 30)) \
        --out "$out/settings/gpu.json"
fi

printf '\n%d s in all; now make the page:\n' "$SECONDS"
echo "python -m studies.performance"
exit "$failed"
