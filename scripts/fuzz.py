"""Malformed and unusual inputs at the door, by the thousand: right, or a word. ``python scripts/fuzz.py --n 1600
--seed 0``

Four classes. *tables* and *stacks* are made with a known truth in the many ways that programs write them: the numbers
must be right, or a warning or an error says why not. *sealed* files (tracks, models, FFV1 movies with checksums) get
flipped, cut and inserted bytes: same content or an error. *open* files (TIFF, AVI, MP4, .cine, .seq, CSV, XML, PNG,
TOML) have no checksums, so that a changed digit cannot be seen: no raw exception, no hang, no memory.

Prints the count of each outcome by class, and every failure with the seed that repeats it; the exit status is their
number.
"""

from __future__ import annotations

import argparse
import io
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import tifffile

import vid2dyn as vd
from vid2dyn.core.workers import peak_memory

LIMIT_S, LIMIT_GB = 20, 1.5
SAID, RIGHT, WRONG, RAW, HANG, MEMORY = "said", "right", "SILENT WRONG", "RAW", "HANG", "MEMORY"


class Hang(BaseException):
    """An input took longer than `LIMIT_S`."""


def outcome(function: Any) -> tuple[str, str]:
    """What becomes of one input: `function` returns (right, notes)."""
    def late(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    before = peak_memory()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            right, notes = function()
        found = RIGHT if right else SAID if notes else WRONG
        text = "" if right else str(notes)[:200]
    except vd.Vid2DynError as error:
        found, text = SAID, str(error)[:200]
    except Hang:
        found, text = HANG, ""
    except Exception as error:
        found, text = RAW, f"{type(error).__name__}: {error} at {traceback.extract_tb(error.__traceback__)[-1]}"[:300]
    finally:
        signal.alarm(0)
    grown = peak_memory() - before
    return (MEMORY, f"{grown:.2f} GB") if grown > LIMIT_GB else (found, text)


# ---------------------------------------------------------------- tables

def walk(rng: np.random.Generator) -> pd.DataFrame:
    n, frames = int(rng.integers(3, 9)), int(rng.integers(5, 12))
    path = rng.normal(0, 0.3, (frames, n, 2)).cumsum(0) + rng.uniform(0, 90, (1, n, 2))
    frame, particle = np.divmod(np.arange(frames * n), n)
    return pd.DataFrame({"frame": frame, "particle": particle, "y": path[..., 0].ravel().round(6),
                         "x": path[..., 1].ravel().round(6)})


def table_case(rng: np.random.Generator, folder: Path) -> Any:
    table = walk(rng)
    plain = vd.diffusion(vd.Trajectories.from_dataframe(table, frames_per_second=10, micrometre_per_pixel=1,
    exposure=0))
    want, usual = plain.D, {warning[:12] for warning in plain.warnings}
    odd = table.copy()
    names = rng.choice(["0..n", "hash", "stamp", "float", "text", "minus", "huge"])
    ids = odd["particle"].to_numpy()
    odd["particle"] = {"0..n": ids, "hash": ids * 37 * 10**14, "stamp": 1_760_000_000_000_000_000 + ids * 33_333_333,
                       "float": ids + 1e17, "text": np.array([f"cell {i}" for i in ids]), "minus": ids - 3,
                       "huge": ids.astype("uint64") + np.uint64(2**63)}[str(names)]
    if rng.random() < 0.3:
        odd["z"] = float(rng.integers(-3, 3))
    if rng.random() < 0.1:
        odd["x"] = [("nan" if rng.random() < 0.05 else v) for v in odd["x"]]
    if rng.random() < 0.1:
        odd = odd.rename(columns={"particle": str(rng.choice(["track_id", "Particle", "TRACKID", "trajectory"]))})
    if rng.random() < 0.1:
        odd["X"] = 7.0
    if rng.random() < 0.1:
        odd["frame"] = odd["frame"] * int(rng.choice([2, 10, 10**7, 2**31]))
    odd = odd.sample(frac=1, random_state=int(rng.integers(1000)))

    def memory() -> tuple[bool, Any]:
        tracks = vd.Trajectories.from_dataframe(odd, frames_per_second=10, micrometre_per_pixel=1, exposure=0)
        found = vd.diffusion(tracks)
        return bool(np.isclose(found.D, want, rtol=1e-9)), [
            *tracks.info.get("warnings", []), *(w for w in found.warnings if w[:12] not in usual)]

    def file() -> tuple[bool, Any]:
        separator, decimal = [(",", "."), (";", ","), (";", "."), ("\t", "."), ("\t", ","), (", ", "."), (" ", "."),
                              (",", ",")][
            int(rng.integers(8))]
        text = odd.to_csv(index=bool(rng.random() < 0.2), sep=separator[0], decimal=decimal)
        text = text.replace(",", ", ") if separator == ", " else text
        if rng.random() < 0.1:
            text = text.replace("\n", "\n\n", 1)
        if rng.random() < 0.1:
            text = text.rstrip("\n") + f"{separator[0]}99\n"
        path = folder / f"t{rng.choice(['.csv', '.tsv', '.txt'])}"
        path.write_bytes(text.encode(str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))))
        tracks = vd.open(path, frames_per_second=10, micrometre_per_pixel=1, exposure=0)
        found = vd.diffusion(tracks)
        return bool(np.isclose(found.D, want, rtol=1e-5)), [
            *tracks.info.get("warnings", []), *(w for w in found.warnings if w[:12] not in usual)]

    return memory if rng.random() < 0.4 else file


# ---------------------------------------------------------------- stacks

UNITS = {"sec": 1, "ms": 1e-3, "msec": 1e-3, "minutes": 60, "hour": 3600, "usec": 1e-6, "fortnight": None,
         "frame": None}


def stack_case(rng: np.random.Generator, folder: Path) -> Any:
    kind = rng.choice([np.uint8, np.uint16, np.uint32, np.int16, np.float32, np.float64, np.complex64])
    frames = rng.integers(0, 200, (int(rng.integers(1, 7)), 20, 26)).astype(kind)
    truth, path = frames.astype(np.float64) if kind is not np.complex64 else frames, folder / "a.tif"
    compression = {"compression": "zlib"} if rng.random() < 0.3 else {}
    how = str(rng.choice(["plain", "append", "imagej", "ome", "channel", "white", "pages"]))
    rate: float | None = None
    if how == "append":
        for k, frame in enumerate(frames):
            tifffile.imwrite(path, frame, append=k > 0, photometric="minisblack", **compression)
    elif how == "imagej" and kind in (np.uint8, np.uint16, np.float32):
        unit = str(rng.choice(list(UNITS)))
        tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX", "finterval": 3.0, "tunit": unit})
        rate = None if UNITS[unit] is None else 1 / (3 * UNITS[unit])
    elif how == "ome":
        path = folder / "a.ome.tif"
        tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"}, **compression)
    elif how == "channel":
        tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "CYX"}, **compression)
    elif how == "white" and kind in (np.uint8, np.uint16):
        tifffile.imwrite(path, np.iinfo(kind).max - frames, photometric="miniswhite", **compression)
    elif how == "pages":
        with tifffile.TiffWriter(path) as writer:
            for frame in frames:
                writer.write(frame, contiguous=False, metadata=None, photometric="minisblack", **compression)
    else:
        how = "plain"
        tifffile.imwrite(path, frames, photometric="minisblack", **compression)

    def run() -> tuple[bool, Any]:
        video = vd.open(path)
        seen = np.stack(list(video))
        right = seen.shape == truth.shape and np.array_equal(seen, truth)
        if rate is not None or how == "imagej":
            right = right and (video.frames_per_second is None if rate is None else bool(
                np.isclose(video.frames_per_second or 0, rate)))
        return right, video.warnings

    return run


# ---------------------------------------------------------------- bytes

def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(out)))
        what = rng.random()
        if what < 0.5:
            out[at] ^= 1 << int(rng.integers(8))
        elif what < 0.65:
            out[at:at + 4] = struct.pack("<I", int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF])))
        elif what < 0.8:
            del out[at:]
        elif what < 0.9:
            out[at:at] = rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8).tobytes()
        else:
            del out[at:at + int(rng.integers(1, 40))]
        if not out:
            return b"\0"
    return bytes(out)


def coded(codec: str, form: str, pixels: str, frames: np.ndarray, **options: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)))
        container.mux(stream.encode())
    return target.getvalue()


def seq(frames: np.ndarray) -> bytes:
    header = bytearray(1024)
    struct.pack_into("<I", header, 0, 0xFEED)
    struct.pack_into("<i", header, 28, 3)
    height, width = frames.shape[1:]
    struct.pack_into("<7I", header, 548, width, height, 8, 8, width * height, 100, len(frames))
    struct.pack_into("<Id", header, 580, width * height, 30.0)
    return bytes(header) + frames.tobytes()


class Samples:
    """Whole files of every kind, made once."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(99)
        self.frames = (rng.integers(0, 40, (5, 32, 48)) + np.linspace(0, 150, 48)).astype(np.uint8)
        self.tracks = vd.Trajectories.from_dataframe(walk(rng), frames_per_second=10, micrometre_per_pixel=0.5,
        exposure=0)
        self.tracks.save(folder / "a.parquet")
        self.model = vd.fit(vd.simulate(vd.simulators.Brownian(n_particles=20, frames=40), seed=0), vd.Brownian(),
        seed=0)
        self.model.save(folder / "a.vid2dyn")
        tifffile.imwrite(folder / "a.tif", self.frames, imagej=True, metadata={"axes": "TYX", "finterval": 0.1})
        tifffile.imwrite(folder / "b.tif", self.frames, photometric="minisblack", compression="zlib")
        tifffile.imwrite(folder / "a.png.tif", self.frames[0])
        from vid2dyn.core.opencv import cv2

        self.sealed = {".parquet": (folder / "a.parquet").read_bytes(), ".vid2dyn": (folder / "a.vid2dyn").read_bytes(),
                       ".mkv": coded("ffv1", "matroska", "gray", self.frames, level="3", slicecrc="1")}
        table = walk(rng)
        first = table[table.particle == 0].itertuples()
        rows = "".join(f'<detection t="{r.frame}" x="{r.x}" y="{r.y}" z="0"/>' for r in first)
        self.open = {
            "a.tif": (folder / "a.tif").read_bytes(), "b.tif": (folder / "b.tif").read_bytes(),
            "a.avi": coded("mjpeg", "avi", "yuvj420p", self.frames), "a.mp4": coded("libx264", "mp4", "yuv420p",
                                                                                    self.frames),
            "a.seq": seq(self.frames), "a.csv": table.to_csv(index=False).encode(),
            "a.png": cv2.imencode(".png", self.frames[0])[1].tobytes(), "a.jpg": cv2.imencode(".jpg",
                                                                                              self.frames[0])[1].tobytes(),
            "a.xml": '<?xml version="1.0"?><Tracks nTracks="1" spaceUnits="µm" frameInterval="0.1" timeUnits="s">'
                     f'<particle nSpots="9">{rows}</particle></Tracks>'.encode(),
            "a.toml": b'[simulate]\nkind = "Brownian"\nn_particles = 5\nframes = 20\n[fit]\nseed = 3\n'
                      b"[rollout]\nsteps = 9\n"}


def sealed_case(rng: np.random.Generator, folder: Path, samples: Samples) -> Any:
    suffix = str(rng.choice(list(samples.sealed)))
    path = folder / f"m{suffix}"
    path.write_bytes(mutated(rng, samples.sealed[suffix]))

    def run() -> tuple[bool, Any]:
        if suffix == ".parquet":
            found = vd.load(path)
            return found.dataframe.equals(samples.tracks.dataframe) and found.units == samples.tracks.units, ()
        if suffix == ".vid2dyn":
            return repr(vd.load(path)) == repr(samples.model), ()
        video = vd.open(path)
        seen = list(video)
        whole = all(np.array_equal(a, b) for a, b in zip(seen, samples.frames))
        return whole and (len(seen) == len(samples.frames) or bool(video.warnings)), ()

    return run


def open_case(rng: np.random.Generator, folder: Path, samples: Samples) -> Any:
    name = str(rng.choice(list(samples.open)))
    path = folder / f"m-{name}"
    path.write_bytes(mutated(rng, samples.open[name]))

    def run() -> tuple[bool, Any]:
        if name.endswith(".toml"):
            from vid2dyn.runs.experiment import read

            read(path)
        else:
            found = vd.open(path)
            if isinstance(found, vd.Video):
                for _ in found:
                    pass
            else:
                vd.diffusion(found.with_units(frames_per_second=10, micrometre_per_pixel=1))
        return True, ()

    return run


CLASSES = {"tables": (table_case, 0.4), "stacks": (stack_case, 0.2), "sealed": (sealed_case, 0.15), "open": (open_case,
                                                                                                             0.25)}


def main() -> int:
    """All inputs; the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1600, help="inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the first input; the next ones count up")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    count: Counter[tuple[str, str]] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        samples = Samples(folder)
        kinds, shares = list(CLASSES), [share for _, share in CLASSES.values()]
        for seed in range(chosen.seed, chosen.seed + chosen.n):
            rng = np.random.default_rng(seed)
            kind = str(rng.choice(kinds, p=shares))
            make = CLASSES[kind][0]
            case = make(rng, folder) if kind in ("tables", "stacks") else make(rng, folder, samples)
            found, text = outcome(case)
            count[kind, found] += 1
            if found not in (RIGHT, SAID):
                failures += 1
                print(f"seed {seed}, {kind}: {found} {text}", flush=True)
    print(f"{chosen.n} inputs, seeds {chosen.seed} to {chosen.seed + chosen.n - 1}")
    print(pd.DataFrame([{"class": k, "outcome": o, "inputs": n} for (k, o), n in sorted(count.items())]).pivot(
        index="class", columns="outcome", values="inputs").fillna(0).astype(int).to_string())
    return failures


if __name__ == "__main__":
    sys.exit(min(main(), 100))
