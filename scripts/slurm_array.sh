#!/usr/bin/env bash
# One movie on a SLURM cluster: an array of tasks finds the particles, one job after it links them.
#
#   scripts/slurm_array.sh movie.avi tracks.parquet 16 --diameter 11 --search-range 5 --memory 3
#
# Arguments: movie, output, number of chunks, then options of `vid2dyn track`. Movie and output lie on a file system
# that all nodes see. Tasks may run in any order, fail and be repeated; the result is the same to the last byte.
# Options of sbatch (partition, time) go into SBATCH_OPTIONS. Without sbatch on this machine the same commands run
# here, one after the other, so that the script can be tried on a laptop.
set -euo pipefail

if [ $# -lt 3 ]; then
  sed -n '2,11p' "$0" | cut -c3- >&2
  exit 2
fi
movie=$1 out=$2 chunks=$3
shift 3

if ! command -v sbatch >/dev/null; then
  for ((i = 1; i <= chunks; i++)); do
    vid2dyn track "$movie" --out "$out" --chunk "$i/$chunks" "$@"
  done
  exec vid2dyn track "$movie" --out "$out" "$@"
fi

read -ra more <<<"${SBATCH_OPTIONS:-}"
quoted=$(printf ' %q' track "$movie" --out "$out" "$@")
array=$(sbatch --parsable --array="1-$chunks" --cpus-per-task=1 "${more[@]}" \
  --wrap "OMP_NUM_THREADS=1 vid2dyn$quoted --chunk \$SLURM_ARRAY_TASK_ID/$chunks")
sbatch --dependency="afterok:${array%%;*}" --cpus-per-task=1 "${more[@]}" --wrap "vid2dyn$quoted"
