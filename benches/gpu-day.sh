#!/usr/bin/env bash
# Measurements for the day a GPU is at hand, the most telling first:
#
#   benches/gpu-day.sh PLEURA FOLDER [--device N] [--minutes M] [--python PYTHON] [--smoke]
#
# PLEURA is the program (`cargo build --release`, stripped and carried), FOLDER is made and gets gpu-day.json and gpu-day.log. The machine needs nothing
# else but Vulkan's loader (Debian: libvulkan1) and the card's driver. All steps together end after M minutes (8), each within its share of them. Both files are
# whole after each step, so a run that is cut loses the step it was in at most; `pleura bench` keeps the rows of that one, too. --smoke measures as little as
# there can be, for a GPU in software. Where PYTHON (python3) has FHElium beside a PyTorch that sees the card, fhelium.py, which lies beside this script, measures
# it last; else the log says what is missing.
set -u

usage() {
  sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ $# -ge 2 ] || usage
program=$1
folder=$2
shift 2
device=gpu
minutes=8
python=python3
smoke=
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=${2:?"--device needs a number"} && shift 2 ;;
    --minutes) minutes=${2:?"--minutes needs a number"} && shift 2 ;;
    --python) python=${2:?"--python needs a program"} && shift 2 ;;
    --smoke) smoke=1 && shift ;;
    *) usage ;;
  esac
done
case $minutes in '' | *[!0-9]*) usage ;; esac
program=$(command -v -- "$program") || { echo "$0: there is no program $program" >&2; exit 2; }
mkdir -p "$folder" || exit 1
json=$folder/gpu-day.json
log=$folder/gpu-day.log
if [ -e "$json" ] || [ -e "$log" ]; then
  echo "$0: $folder has results already: name another folder" >&2
  exit 2
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
end=$((SECONDS + 60 * minutes))
: >"$log"
: >"$work/steps"

# A string of JSON from standard input.
quoted() {
  printf '"'
  tr -d '\000-\010\013-\037' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
  printf '"'
}

# The file of results as it is so far.
publish() {
  {
    printf '{"schema":"pleura.gpu-day/1","machine":{"program":%s,"cpu":%s,"memory":%s,"system":%s,"card":%s},"steps":[\n' \
      "$("$program" --version 2>&1 | quoted)" \
      "$(lscpu 2>/dev/null | sed -n 's/^Model name: *//p;s/^CPU(s): */cores: /p' | quoted)" \
      "$(sed -n 's/^MemTotal: *//p' /proc/meminfo 2>/dev/null | quoted)" \
      "$(uname -srm | quoted)" \
      "$(nvidia-smi --query-gpu=name,driver_version,memory.total,pci.bus_id,clocks.sm,clocks.max.sm,power.limit --format=csv,noheader 2>/dev/null | quoted)"
    cat "$work/steps"
    printf ']}\n'
  } >"$json.part" && mv "$json.part" "$json"
}

# step NAME SECONDS [VARIABLE=VALUE..] ARGUMENTS..: runs the program within these seconds, and keeps the JSON it writes.
step() {
  local name=$1 most=$2 variables=()
  shift 2
  while [[ ${1:-} == [A-Z]*=* ]]; do
    variables+=("$1")
    shift
  done
  measure "$name" "$most" "${variables[@]}" "$program" --quiet "$@"
}

# measure NAME SECONDS [VARIABLE=VALUE..] COMMAND..: the same of any command.
measure() {
  local name=$1 most=$2 left=$((end - SECONDS)) start code result
  shift 2
  if [ "$left" -lt 5 ]; then
    echo "== $name: no time is left" | tee -a "$log"
    return
  fi
  [ "$most" -lt "$left" ] || most=$left
  echo "== $name: $*" | tee -a "$log"
  start=$(date +%s.%N)
  # An interruption makes `bench` write the rows that it has.
  timeout --signal INT --kill-after 10 "$most" env "$@" >"$work/out" 2>"$work/said"
  code=$?
  cat "$work/said" >>"$log"
  # Rows that an interrupted run reports are an object, too.
  if [ "$(head -c 1 "$work/out")" = '{' ]; then result=$(cat "$work/out"); else result=null; fi
  [ ! -s "$work/steps" ] || echo , >>"$work/steps"
  printf '{"step":"%s","exit":%d,"seconds":%.3f,"arguments":%s,"said":%s,"result":%s}' "$name" "$code" \
    "$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')" \
    "$(printf '%s' "$*" | quoted)" "$(quoted <"$work/said")" "$result" >>"$work/steps"
  publish
  echo "   exit $code" | tee -a "$log"
}

# FHElium, if it can run.
peer() {
  local missing
  if missing=$("$python" -c '
import sys
try:
    import torch
    import fhelium
except ImportError as error:
    sys.exit(f"{error}: PyPI has the source of FHElium only, which is built beside the PyTorch of the card, with nvcc and a C++ compiler: pip install --no-binary=fhelium --no-build-isolation fhelium")
if not torch.cuda.is_available():
    sys.exit("PyTorch sees no card")' 2>&1); then
    measure fhelium 60 "$python" "$(dirname -- "${BASH_SOURCE[0]}")/fhelium.py"
  else
    echo "== fhelium: not measured: ${missing##*$'\n'}" | tee -a "$log"
  fi
}

publish
both=(--device cpu --device "$device" --json)
gpu=(--device "$device" --json)
if [ -n "$smoke" ]; then
  step list 30 devices --list --json
  step default 200 bench "${both[@]}" --only pneumonia --repeat 1
  step operations 200 bench "${both[@]}" --only rotate --sizes 13 --batch 1,2 --repeat 1
  step profile 200 PLEURA_GPU_PROFILE=1 bench "${gpu[@]}" --only rotate --sizes 14 --batch 1 --repeat 1
  step int32 200 PLEURA_GPU_NO_INT64=1 bench "${gpu[@]}" --only rotate --sizes 13 --batch 1 --repeat 1
  step robustness 200 PLEURA_GPU_NO_ROBUSTNESS=1 bench "${gpu[@]}" --only rotate --sizes 13 --batch 1 --repeat 1
  step without-gadget_product 200 PLEURA_GPU_SKIP=gadget_product bench "${gpu[@]}" --only rotate --sizes 13 --batch 1 --repeat 1
  peer
  exit 0
fi
step check 60 devices --quick --json
step default 40 bench "${both[@]}" --only pneumonia --repeat 25
step hefnet 60 bench "${both[@]}" --only pneumonia-hefnet --repeat 10
step hefnet-se 90 bench "${both[@]}" --only pneumonia-hefnet-se --repeat 5
step operations-14 60 bench "${both[@]}" --only rotate,mul_rescale --sizes 13,14 --batch 1,4,16,64
step operations-16 100 bench "${both[@]}" --only rotate,mul_rescale --sizes 15,16 --batch 1,16 --repeat 3
step profile 60 PLEURA_GPU_PROFILE=1 bench "${gpu[@]}" --only rotate,mul_rescale,pneumonia,pneumonia-hefnet --sizes 14 --batch 1,16 --repeat 3
step int32 40 PLEURA_GPU_NO_INT64=1 bench "${gpu[@]}" --only rotate,mul_rescale,pneumonia --sizes 14 --batch 1,16 --repeat 3
step transform 40 bench "${both[@]}" --only ntt,intt,linear_transform_64 --sizes 14 --batch 1,16
step profile-se 60 PLEURA_GPU_PROFILE=1 bench "${gpu[@]}" --only pneumonia-hefnet-se --repeat 2
step robustness 30 PLEURA_GPU_NO_ROBUSTNESS=1 bench "${gpu[@]}" --only rotate,mul_rescale,pneumonia --sizes 14 --batch 1,16 --repeat 3
# Kernels left out one by one: the time that is saved is a kernel's share where others overlap with it.
for kernel in gadget_product baby_step_sums convert_head ntt_rest ntt_rest_rescaled intt ntt_compact mul_accumulate; do
  step "without-$kernel" 15 "PLEURA_GPU_SKIP=$kernel" bench "${gpu[@]}" --only rotate,linear_transform_64 --sizes 14 --batch 16 --repeat 3
done
peer
step check-all 120 devices --json
