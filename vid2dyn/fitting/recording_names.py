"""Names by which several recordings of one fit are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def recording_names(infos: Sequence[Mapping[str, Any]]) -> list[str]:
    """The name of the file that was given, where it is its own; else that of the movie behind it; else the number.

    Runs call all their tables tracks.parquet, each in a folder of its movie.

    >>> recording_names([{"recording": "a.parquet"}, {"recording": "b.parquet"}])
    ['a.parquet', 'b.parquet']
    >>> recording_names([{"recording": "tracks.parquet", "source": f"{name}.avi"} for name in "ab"])
    ['a.avi', 'b.avi']
    >>> recording_names([{}, {"source": "a.avi"}, {"source": "a.avi"}])
    ['recording 1', 'recording 2', 'recording 3']
    """
    files = [Path(str(info.get("recording", info.get("source", "")))).name for info in infos]
    movies = [Path(str(info.get("source", ""))).name for info in infos]
    named = []
    for r, (file, movie) in enumerate(zip(files, movies)):
        own = next((name for name, all_of in ((file, files), (movie, movies)) if name and all_of.count(name) == 1), "")
        named.append(own or f"recording {r + 1}")
    return named
