#!/usr/bin/env bash
# Everything that can only be known on an NVIDIA GPU, in one command of less than ten minutes; see docs/jetson.md.
#
#   tools/gpu_check.sh [--seconds N] [--pack DIR] [--wheels DIR] [--engines NAMES] [--steps STEPS] [--out DIR]
#
#   --seconds  so long in all (default: 530); on a Jetson, where one engine takes minutes to build, give it 3600
#   --pack     parts that tools/gpu_pack.sh made: TensorRT, Python packages and the engines in every precision
#   --wheels   wheels to unpack beside whatever Python has
#   --engines  only these, e.g. "detector face-encoder"; tests/gpu wants a detector among them (default: all)
#   --steps    only these, each with its share of the time, e.g. "engines:2 tests:1" (default: all)
#   --out      where DATE-gpu.json, DATE-gpu.md and gpu_check.log go (default: $OUT, or gpu-out)
#
# PYTHON names the interpreter (default: $VENV/bin/python3, or python3); what PYTHONPATH holds is used. Each step has its share
# of the time that is left, begins with what is most worth knowing and leaves out what does not fit; the report names it. It is
# written anew after every step, so whatever ends the script leaves what was found. Exit status:
#
#   0   all was done and went well
#   1   a step did not end well, or the interpreter lacks packages that the steps need: nothing was run then
#   3   what was done went well, and some was left out
#   69  TensorRT does not compute on the device, or crashes on it, so only what needs none was run
#   78  there is no device or no TensorRT
set -uo pipefail

STEPS="engines:100 parity:60 sweep:80 pipeline:70 fitting:30 streams:40 tests:100"

die() { echo "gpu_check: $*" >&2; exit 64; }

seconds=530 pack="" wheels="" engines="" steps="$STEPS" out="${OUT:-gpu-out}"
while [ $# -gt 0 ]; do
  case "$1" in
    --pack | --wheels | --out) [ $# -ge 2 ] || die "$1 wants a directory"; declare "${1#--}=$2"; shift 2 ;;
    --seconds) [[ "${2-}" =~ ^[1-9][0-9]{2,}$ ]] || die "$1 wants a whole number from 100 on"; seconds="$2"; shift 2 ;;
    --engines | --steps) [ $# -ge 2 ] || die "$1 wants a list"; declare "${1#--}=$2"; shift 2 ;;
    *) die "$1 is unknown: see the head of $0" ;;
  esac
done
[[ "$steps" =~ [^[:space:]] ]] || die "--steps: it names none: $STEPS are known"
for step in $steps; do
  case " $STEPS" in *" ${step%%:*}:"*) ;; *) die "--steps: ${step%%:*} is unknown: $STEPS are known" ;; esac
  [[ "$step" =~ ^[a-z]+:[1-9][0-9]{0,5}$ ]] || die "--steps: $step has no share: expected e.g. ${step%%:*}:60"
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
needs="cv2 numpy pydantic yaml" # for every step; what reaches the device is asked for by the first one
case " $steps" in *" parity:"* | *" tests:"*) needs+=" onnxruntime" ;; esac
case " $steps" in *" tests:"*) needs+=" onnx pytest" ;; esac
# shellcheck disable=SC2086 # one word each
lacks="$("$PYTHON" -c '
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(f"  {name}: {error}")' $needs)" || { echo "gpu_check: $PYTHON does not run, or not what the check needs"; exit 1; }
if [ -n "$lacks" ]; then
  echo "gpu_check: $PYTHON lacks packages that the steps need:"
  echo "$lacks"
  echo "name an interpreter that has them, e.g. PYTHON=.venv/bin/python3, or unpack them with --wheels (see docs/jetson.md)"
  exit 1
fi

tell() { "$PYTHON" -m tools.gpu.ended "$@" --date "$date" --out "$out" --work "$work"; }
child=""
trap '[ -z "$child" ] || kill "$child"; exit 130' INT TERM

failed="" partial="" outcome="" # the last one of the step that ended last
run_step() { # name, limit in seconds, arguments
  local name="$1" limit="$2" began="$SECONDS" status
  shift 2
  if [ "$limit" -lt 10 ]; then
    outcome="left out"
    tell --step "$name" --outcome "left out" --limit "$limit"
    partial=3
    return 3
  fi
  echo "== $name, at most $limit s"
  timeout -k 5 "$limit" "$PYTHON" -m tools.gpu "$name" "$@" --seconds "$limit" --work "$work" & # so that Ctrl-C is heeded at once
  child=$!
  wait "$child"
  status=$?
  child=""
  case "$status" in
    0) outcome=ok ;;
    3) partial=3 outcome=partial ;;
    *)
      failed=1 outcome=failed
      if [ $((SECONDS - began)) -ge "$limit" ]; then
        outcome="timed out"
      elif [ "$name" = device ]; then
        case "$status" in # said, or a crash: SIGILL, TRAP, ABRT, BUS, FPE, SEGV, SYS; KILL is what a lack of memory ends with
          69 | 132 | 133 | 134 | 135 | 136 | 139 | 159) outcome=refused ;;
        esac
      fi ;;
  esac
  tell --step "$name" --outcome "$outcome" --status "$status" --seconds $((SECONDS - began)) --limit "$limit"
  return "$status"
}

nvidia-smi || echo "nvidia-smi: not here"
run_step device $((seconds / 10)) --revision "$revision"
status=$?
case "$outcome" in
  ok | partial | "timed out") ;; # what was too slow may compute all the same; each step has its time, and shows where it hangs
  refused) run_step tests $((seconds - SECONDS)) --without-tensorrt; exit 69 ;;
  *) if [ "$status" -eq 78 ]; then exit 78; fi; exit 1 ;;
esac
shares=0
for step in $steps; do shares=$((shares + ${step##*:})); done
for step in $steps; do
  share="${step##*:}"
  run_step "${step%%:*}" $(((seconds - SECONDS) * share / shares))
  shares=$((shares - share))
done
exit "${failed:-${partial:-0}}"
