#!/usr/bin/env bash
# A learned model in LAMMPS as one job on a SLURM cluster; see scripts/lammps_large.py for the arguments.
#
#   RANKS=64 SBATCH_OPTIONS="--partition=compute --time=24:00:00" \
#     scripts/lammps_slurm.sh model.vid2dyn large/ --particles 10000000
#
# The environment needs vid2dyn[lammps] and an MPI whose mpiexec starts processes inside a job (MPICH and Open MPI do).
# Submit the same line again when the time was not enough: the run goes on from its last checkpoint.
# Without sbatch on this machine the same command runs here, so that it can be tried on a laptop.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,9p' "$0" | cut -c3- >&2
  exit 2
fi
ranks="${RANKS:-2}"
here="$(cd "$(dirname "$0")" && pwd)"
quoted=$(printf ' %q' "$here/lammps_large.py" "$@" --ranks "$ranks")
if ! command -v sbatch >/dev/null; then
  eval "exec python$quoted"
fi
read -ra more <<<"${SBATCH_OPTIONS:-}"
sbatch --ntasks="$ranks" --cpus-per-task=1 "${more[@]}" --wrap "OMP_NUM_THREADS=1 python$quoted"
