"""
My camera writes a format that nobody else reads: how do I open it?
===================================================================

A reader is one class: ``open`` looks at the head of the file, ``decode`` gives the frames in
order. Slices, caches, tracking and command line follow from that. Here: a header of 64 bytes,
then frames of 12 bits packed into three bytes for two pixels, as industrial cameras send them.
The known answer: the same film as TIFF has to give the same tracks, to the last bit.
"""

# %%
# The reader
# ----------
# A damaged file or one of another kind is a ``DataError`` that names it and says what to do.
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import vid2dyn as vd
from vid2dyn.data.video import Video, VideoInfo
from vid2dyn.readers import Reader

HEADER = struct.Struct("<8sIIIddd")  # b"PACKED12", frames, height, width, frames/s, µm per pixel, exposure
BEGIN = 64


@dataclass(frozen=True)
class Packed12(Reader):
    """Frames of 12 bits a pixel, two pixels in three bytes, behind a header of 64 bytes.

    Parameters
    ----------
    swap : bool
        Whether the camera sends the second pixel of each pair first.
    """

    suffixes = (".p12",)
    swap: bool = False

    def open(self, path):
        with Path(path).open("rb") as stream:
            head = stream.read(HEADER.size)
        if len(head) < HEADER.size or not head.startswith(b"PACKED12"):
            raise vd.DataError(
                f"{path}: not a recording of this camera (it does not begin with PACKED12). Copy it again."
            )
        _, frames, height, width, rate, um, exposure = HEADER.unpack(head)
        units = vd.Units(frames_per_second=rate, micrometre_per_pixel=um, exposure=exposure)
        return Packed12Video(VideoInfo(Path(path), frames, height, width, "uint16", units), self.swap)


class Packed12Video(Video):
    def __init__(self, info, swap):
        super().__init__(info)
        self.swap = swap

    def decode(self, start, stop):
        height, width = self.shape
        size = height * width * 3 // 2
        with self.path.open("rb") as stream:
            stream.seek(BEGIN + start * size)
            for number in range(start, stop):
                packed = np.frombuffer(stream.read(size), np.uint8)
                if packed.size < size:
                    raise vd.DataError(f"{self.path}: frame {number} is cut short. Copy the file again.")
                a, b, c = packed.reshape(-1, 3).astype(np.uint16).T
                pair = (a << 4 | b >> 4, (b & 15) << 8 | c)
                yield np.stack(pair[::-1] if self.swap else pair, axis=1).reshape(height, width)


# %%
# A film in both formats
# ----------------------
particles = vd.simulators.Brownian(
    n_particles=40,
    frames=40,
    frames_per_second=50,
    diffusion=0.3,
    box_length=20.0,
    exposure=0.005,
    micrometre_per_pixel=0.13,
)
film = vd.render(
    particles,
    vd.simulators.Renderer(height=150, width=150, amplitude=900, background=200, bit_depth=16),
    seed=0,
)
folder = Path(tempfile.mkdtemp())
film.save(folder / "film.tif")
with (folder / "film.p12").open("wb") as stream:
    stream.write(HEADER.pack(b"PACKED12", len(film), *film.shape, 50.0, 0.13, 0.005).ljust(BEGIN, b"\0"))
    for frame in film.frames():
        first, second = frame.reshape(-1, 2).astype(np.uint16).T
        stream.write(
            np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
            .astype(np.uint8)
            .tobytes()
        )

# %%
# Opened by the class itself. In a package of your own, two lines make ``vd.open("film.p12")``,
# the command line and the panel know it:
#
# .. code-block:: toml
#
#     [project.entry-points."vid2dyn.readers"]
#     Packed12 = "my_lab.packed12:Packed12"
mine = Packed12().open(folder / "film.p12")
theirs = vd.open(folder / "film.tif", frames_per_second=50, micrometre_per_pixel=0.13, exposure=0.005)
print(mine, theirs, sep="\n")

# %%
# The answer
# ----------
# Equal pixels, equal tracks; frames in any order, and slices.
assert all(np.array_equal(mine[k], theirs[k]) for k in (39, 0, 17))
tracks = vd.track(mine, diameter=11, search_range=7)
other = vd.track(theirs, diameter=11, search_range=7)
print("largest difference of positions:", np.abs(tracks.positions - other.positions).max(), "µm")
print(vd.diffusion(tracks))

figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.2), layout="constrained")
shown = left.imshow(mine[0], cmap="gray")
left.set(xlabel="x (px)", ylabel="y (px)", title="First frame, by our own reader")
figure.colorbar(shown, ax=left, label="grey level (12 bits)", shrink=0.8)
for track in tracks:
    right.plot(track.positions[:, 1], track.positions[:, 0], lw=1)
right.set(xlabel="x (µm)", ylabel="y (µm)", title="Tracks", aspect="equal")
right.invert_yaxis()
plt.show()
