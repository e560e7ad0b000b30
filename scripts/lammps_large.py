"""A learned model in a box far larger than its data, in LAMMPS on many processes.

    python scripts/lammps_large.py model.vid2dyn large/ --particles 1000000 --ranks 8
    python scripts/lammps_large.py model.vid2dyn large/ --tracks tracks.parquet --replicate 10,10,10 --ranks 8
    scripts/lammps_slurm.sh model.vid2dyn large/ --particles 1000000          # the same as a job on a cluster

The box is filled at the density of the data, or the first frame of the tracks is set beside itself; it comes to rest in
a bath at the temperature of the model (large/relax), and then runs (large/run). Frames are files large/run/frames.*,
dumps of LAMMPS, which ``vd.open`` reads. The same command goes on where a run was stopped. A fluid with entropy needs
tracks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import vid2dyn as vd
from vid2dyn.core.showing import showing
from vid2dyn.export import ready_for
from vid2dyn.rollout.lammps.launch import last_state, run_package
from vid2dyn.rollout.lammps.package import LammpsRun, write_package
from vid2dyn.rollout.starts import at_rest, relaxing, replicated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=Path, help="start from their first frame")
    parser.add_argument("--replicate", help="copies of it along each axis, e.g. 4,4,4")
    parser.add_argument("--particles", type=int, help="of a start without tracks")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--relax", type=int, default=300, help="time steps in the bath")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepare-only", action="store_true", help="write large/relax and stop; for batch systems")
    given = parser.parse_args()
    model = vd.load(given.model)
    tracks = None if given.tracks is None else vd.load(given.tracks)
    frozen, start, settings, substeps = ready_for(model, tracks, given.frames, particles=given.particles,
                                                  seed=given.seed, relax=False)
    if given.replicate:
        start = replicated(start, [int(word) for word in given.replicate.split(",")], given.seed)
    print(f"{len(start.position)} particles in {start.box}, {substeps} steps to a frame", flush=True)
    relax, run = given.folder / "relax", given.folder / "run"
    write_package(relax, frozen, start, relaxing(frozen, settings), LammpsRun(given.relax, given.relax, given.seed + 1))
    if given.prepare_only:
        return
    with showing(True) as progress:
        run_package(relax, given.ranks, progress=progress)
        start = at_rest(frozen, last_state(relax))
        write_package(run, frozen, start, settings,
                      LammpsRun(given.frames * substeps, substeps, given.seed, max(1, given.frames // 10)))
        timing = run_package(run, given.ranks, progress=progress)
    steps = max(1, timing["steps"])
    print(f"{1e6 * timing['seconds'] * given.ranks / steps / len(start.position):.2f} core-µs a particle-step, "
          f"{timing['memory'] / 2**30:.2f} GiB a process; frames in {run}")


if __name__ == "__main__":
    main()
