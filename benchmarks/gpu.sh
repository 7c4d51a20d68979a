#!/usr/bin/env bash
# What to do with an hour of a GPU, in stretches that each end by themselves:
#
#     benchmarks/gpu.sh check          the tests of the captured path, then prunelib bench
#     benchmarks/gpu.sh precision      may tf32 or bf16 be used? ResNet-20 at a tenth of its schedule
#     benchmarks/gpu.sh train RECORDS [MINUTES]     Figures 3, 4, 6 of ResNet-20, then Figure 3 of
#                                      VGG-16, by the paper's recipe, one replicate after the other
#
# DEVICE=cpu tries it elsewhere. `train` goes on where it was stopped as long as its results folder
# is kept; `prunelib merge RECORDS` takes what was trained home.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${DEVICE:-cuda} setting=${SETTING:-resnet20_cifar10} profile=${PROFILE:-paper}
cli() { python -c 'from prunelib.cli import main; main()' "$@"; }

case ${1:-} in
check)
    python -m pytest -q tests/test_programs.py
    for precision in fp32 tf32 bf16; do
        cli bench --device "$device" --precision $precision --repetitions 3 \
            --setting resnet8_digits --setting lenet_mnist --setting "$setting"
    done
    ;;
precision)
    for precision in tf32 bf16; do
        python benchmarks/precision.py "$setting" quick $precision --replicates 1
    done
    ;;
train)
    records=${2:?a folder for the records} minutes=${3:-8}
    options=(--device "$device" --records "$records" --profile "$profile")
    end=$(($(date +%s) + ${minutes%.*} * 60))
    for task in "3 $setting 1" "4 $setting 1" "6 $setting 1" "3 vgg16_cifar10 1" "3 $setting 5"; do
        read -r figure name replicates <<<"$task"
        left=$(((end - $(date +%s)) / 60))
        [ $left -ge 1 ] || break
        cli run --figure "$figure" --setting "$name" --replicates "$replicates" \
            --minutes $left "${options[@]}"
    done
    ;;
*)
    sed -n "2,11s,^# \?,,p" "$0"
    exit 2
    ;;
esac
