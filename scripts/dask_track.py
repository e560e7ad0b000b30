"""One movie on a Dask cluster: every chunk is a task that opens the movie by path; then the links.

    python scripts/dask_track.py movie.avi tracks.parquet --chunks 16 --set diameter=11 --set search_range=5
    python scripts/dask_track.py movie.avi tracks.parquet --scheduler tcp://node:8786 --set diameter=11

Without --scheduler a cluster of processes is started on this machine. Movie and output lie on a file system that all
workers see. A run that was stopped goes on where it was when the command is repeated. Needs `pip install distributed`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vid2dyn.cli.options import parse_assignments
from vid2dyn.core.config import build
from vid2dyn.runs.chunks import track_chunk, track_movie
from vid2dyn.tracking import Track


def run(client: Any, movie: Path, out: Path, settings: Track, chunks: int) -> None:
    """Find the particles of every chunk on the cluster, then link them here."""
    futures = [client.submit(track_chunk, movie, out, settings, chunk=f"{i}/{chunks}", pure=False)
               for i in range(1, chunks + 1)]
    client.gather(futures)
    print(track_movie(movie, out, settings))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("movie", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chunks", type=int, default=16)
    parser.add_argument("--scheduler", help="address of a running scheduler")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of [track]")
    options = parser.parse_args()
    settings = build(Track, parse_assignments(options.set), "--set")
    try:
        from distributed import Client
    except ImportError:
        raise SystemExit("dask_track.py needs Dask: pip install distributed") from None
    with Client(options.scheduler) if options.scheduler else Client(threads_per_worker=1) as client:
        run(client, options.movie.resolve(), options.out.resolve(), settings, options.chunks)


if __name__ == "__main__":
    main()
