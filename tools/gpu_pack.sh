#!/usr/bin/env bash
# What tools/gpu_check.sh needs on a GPU machine without a network, in parts small enough to be carried one by one.
#
#   tools/gpu_pack.sh --data DATA [--masks DATA] [--faces DATA] [--liveness DATA] [--rtx VERSION] [--python 3.12] [--wheels DIR]
#                     [--part-mib 40] [--out .gpu]
#
#   --data      pictures that the INT8 networks of detectors are calibrated on, as tools.quantise takes them
#   --masks     the same for segmenters, pictures with masks of their classes; none: no INT8 of them
#   --faces     the same for face-detector (boxes) and face-encoder (identities), --liveness for face-liveness; none: no INT8
#   --rtx       of TensorRT-RTX; none: the machine has its own TensorRT. 1.7.1.116 (the default) loads no engine on a compute
#               capability that it does not name, such as 9.0; 1.6.1.120 does, but builds no convolutions in INT8
#   --python    of the machine, which shall have numpy, onnxruntime, opencv, PyYAML, pytest, onnx, cuda-bindings and NVRTC
#   --wheels    what it lacks of these, for its Python: unpacked into the pack
#
# There: gather part-00, part-01, … and SHA256SUMS in one directory and give it to gpu_check.sh as --pack.
set -euo pipefail

die() { echo "gpu_pack: $*" >&2; exit 64; }

data="" masks="" faces="" liveness="" rtx=1.7.1.116 python=3.12 wheels="" part_mib=40 out=.gpu
while [ $# -gt 0 ]; do
  case "$1" in
    --data | --masks | --faces | --liveness | --rtx | --python | --wheels | --part-mib | --out)
      [ $# -ge 2 ] || die "$1 wants a value"
      name="${1#--}"; declare "${name//-/_}=$2"; shift 2 ;;
    *) die "$1 is unknown: see the head of $0" ;;
  esac
done
[ -n "$data" ] || die "--data is missing: a labelled set, or a folder of them"
data="$(realpath "$data")" out="$(realpath -m "$out")"
masks="${masks:+$(realpath "$masks")}" faces="${faces:+$(realpath "$faces")}" liveness="${liveness:+$(realpath "$liveness")}"
wheels="${wheels:+$(realpath "$wheels")}"
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
work="$(mktemp -d)" && trap 'rm -rf "$work"' EXIT
mkdir -p "$work/wheels" "$work/pack/site" "$out"

packages=(pydantic pydantic-core annotated-types typing-extensions typing-inspection)
pinned=()
for package in "${packages[@]}"; do pinned+=("$(grep -m1 -ioE "^$package==[^ ;]+" requirements/test.txt)"); done
[ "$rtx" = none ] || pinned+=("tensorrt-rtx-cu13-libs==$rtx" "tensorrt-rtx-cu13-bindings==$rtx")
platforms=()
for glibc in 39 35 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
echo "downloading ${pinned[*]} …"
"$PYTHON" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary=:all: --python-version "$python" \
  --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 --dest "$work/wheels" "${pinned[@]}"
for wheel in "$work"/wheels/*.whl ${wheels:+"$wheels"/*.whl}; do "$PYTHON" -m zipfile -e "$wheel" "$work/pack/site"; done
if [ "$rtx" != none ]; then # on the index the package in front of the two is source only, and holds no more than this
  mkdir "$work/pack/site/tensorrt_rtx"
  printf 'from tensorrt_rtx_bindings import %s\n' '*' __version__ >"$work/pack/site/tensorrt_rtx/__init__.py"
fi

cp -r engines "$work/pack/engines"
for engine in "$work"/pack/engines/*/; do
  "$PYTHON" -m tools.halve "$engine"
  case "$(basename "$engine")" in
    face-liveness) pictures="$liveness" ;;
    face-*) pictures="$faces" ;;
    *-segmenter) pictures="$masks" ;;
    *) pictures="$data" ;;
  esac
  if [ -n "$pictures" ]; then
    "$PYTHON" -m tools.quantise "$engine" --data "$pictures"
  else
    echo "no INT8 of $(basename "$engine"): no pictures were named for it"
  fi
done
git describe --always --dirty >"$work/pack/revision"

echo "packing …"
rm -f "$out"/part-?? "$out/SHA256SUMS"
tar -C "$work/pack" -c . | xz --x86 --lzma2=preset=9,dict=128MiB | split -d -a 2 -b "${part_mib}M" - "$out/part-"
(cd "$out" && sha256sum part-?? >SHA256SUMS)
du -h "$out"/part-??
