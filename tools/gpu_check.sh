#!/usr/bin/env bash
# Everything that can only be known on an NVIDIA GPU, in one command of less than nine minutes; see docs/jetson.md.
#
#   tools/gpu_check.sh [--pack DIR] [--wheels DIR] [--engines NAMES] [--steps STEPS] [--out DIR]
#
#   --pack     parts that tools/gpu_pack.sh made: TensorRT, Python packages and the engines in every precision
#   --wheels   wheels to unpack beside whatever Python has
#   --engines  only these, e.g. "detector face-encoder"; tests/gpu wants a detector among them (default: all)
#   --steps    only these, each with the most seconds that it may take, e.g. "engines:240 tests:120" (default: all)
#   --out      where DATE-gpu.json, DATE-gpu.md and gpu_check.log go (default: $OUT, or gpu-out)
#
# PYTHON names the interpreter (default: $VENV/bin/python3, or python3); what PYTHONPATH holds is used. The report is written
# anew after every step, so whatever ends the script leaves what was found. Exit status: 0; 78 without a device or a TensorRT;
# 1 where a step did not end well.
set -uo pipefail

TOTAL_S=530
STEPS="engines:110 sweep:90 pipeline:90 fitting:40 streams:60 tests:110"

die() { echo "gpu_check: $*" >&2; exit 64; }

pack="" wheels="" engines="" steps="$STEPS" out="${OUT:-gpu-out}"
while [ $# -gt 0 ]; do
  case "$1" in
    --pack | --wheels | --out) [ $# -ge 2 ] || die "$1 wants a directory"; declare "${1#--}=$2"; shift 2 ;;
    --engines | --steps) [ $# -ge 2 ] || die "$1 wants a list"; declare "${1#--}=$2"; shift 2 ;;
    *) die "$1 is unknown: see the head of $0" ;;
  esac
done
for step in $steps; do
  case " $STEPS" in *" ${step%%:*}:"*) ;; *) die "--steps: ${step%%:*} is unknown: $STEPS are known" ;; esac
  [[ "$step" =~ :[1-9][0-9]*$ ]] || die "--steps: $step has no seconds: expected e.g. ${step%%:*}:60"
done
PYTHON="${PYTHON:-${VENV:+$VENV/bin/}python3}"
case "$PYTHON" in /*) ;; */*) PYTHON="$PWD/$PYTHON" ;; esac
root="$(cd "$(dirname "$0")/.." && pwd)"
mkdir -p "$out" && out="$(cd "$out" && pwd)" || die "$out: cannot be written"
work="$(mktemp -d)" && trap 'rm -rf "$work"' EXIT
date="$(date -u +%F)"
exec > >(tee "$out/gpu_check.log") 2>&1

# The checkout stays as it is: what runs is a copy of it, with the engines of the pack.
mkdir -p "$work/tree" "$work/site"
cp -r "$root"/{edged,engines,configs,tests,tools,pyproject.toml} "$work/tree/" || exit 1
revision="$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)"
if [ -n "$pack" ]; then
  (cd "$pack" && sha256sum --quiet --check SHA256SUMS) || { echo "gpu_check: $pack: parts are missing or changed"; exit 1; }
  cat "$pack"/part-?? | "$PYTHON" -c '
import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="data")' "$work" || exit 1
  rm -rf "$work/tree/engines" && mv "$work/engines" "$work/tree/engines" || exit 1
  revision="$(cat "$work/revision")"
fi
if [ -n "$wheels" ]; then
  for wheel in "$wheels"/*.whl; do
    "$PYTHON" -m zipfile -e "$wheel" "$work/site" || { echo "gpu_check: $wheel: cannot be unpacked"; exit 1; }
  done
fi
for engine in $engines; do
  [ -d "$work/tree/engines/$engine" ] || { echo "gpu_check: --engines: there is no $engine"; exit 64; }
done
for engine in ${engines:+"$work"/tree/engines/*/}; do
  case " $engines " in *" $(basename "$engine") "*) ;; *) rm -r "$engine" ;; esac
done
for libraries in "$work"/site/nvidia/*/lib; do # NVIDIA's packages look for these where Python's own lie only
  if [ -d "$libraries" ]; then export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi
done
export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
cd "$work/tree" || exit 1

gpu() { "$PYTHON" -m tools.gpu "$@" --work "$work"; }
report() { gpu report --date "$date" --out "$out"; }
child=""
trap '[ -z "$child" ] || kill "$child"; exit 130' INT TERM

failed=0
run_step() { # name, limit in seconds, arguments
  local name="$1" limit="$2" began="$SECONDS" status outcome
  shift 2
  if [ $((TOTAL_S - SECONDS)) -lt "$limit" ]; then limit=$((TOTAL_S - SECONDS)); fi
  if [ "$limit" -lt 10 ]; then
    gpu ended "$name" --outcome "left out" --limit "$limit"
    failed=1
    return 1
  fi
  echo "== $name, at most $limit s"
  timeout -k 5 "$limit" "$PYTHON" -m tools.gpu "$name" "$@" --work "$work" & # so that Ctrl-C is heeded at once
  child=$!
  wait "$child"
  status=$?
  child=""
  outcome=ok
  if [ "$status" != 0 ]; then
    failed=1 outcome=failed
    if [ $((SECONDS - began)) -ge "$limit" ]; then outcome="timed out"; fi
  fi
  gpu ended "$name" --outcome "$outcome" --status "$status" --seconds $((SECONDS - began)) --limit "$limit"
  report
  return "$status"
}

nvidia-smi || echo "nvidia-smi: not here"
run_step device 30 --revision "$revision" || exit $?
for step in $steps; do
  run_step "${step%%:*}" "${step##*:}"
done
exit "$failed"
