"""Writing frames to a file: OME-TIFF with its calibration, or a movie.

Same frames, same bytes, except h264: x264's vector code does not repeat itself to the last bit.
"""

from __future__ import annotations

import os
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any

from vid2dyn.core.errors import ConfigError
from vid2dyn.core.files import atomic
from vid2dyn.core.progress import Progress, silent
from vid2dyn.data.video import Video

_CODECS: dict[str, tuple[str, dict[int, str]]] = {   # name -> (encoder, pixel format by depth)
    "ffv1": ("ffv1", {8: "gray", 16: "gray16le"}),
    "mjpeg": ("mjpeg", {8: "yuvj420p"}),
    "h264": ("libx264", {8: "yuvj420p"}),
}
_FULL_RANGE = 2
_DEFAULT_CODEC = {".avi": "ffv1", ".mkv": "ffv1", ".mp4": "h264", ".mov": "h264"}


def write_movie(video: Video, path: str | os.PathLike[str], codec: str | None = None, crf: int | None = None,
                progress: Progress = silent) -> Path:
    """Write all frames of `video`, whole or not at all; see `RenderedVideo.save` for the arguments."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff"):
        if codec not in (None, "zlib"):
            raise ConfigError(f"{path}: TIFF is written with zlib; codec={codec!r} belongs to .avi, .mkv or .mp4.")
        _write_tiff(video, path, progress)
    elif suffix in _DEFAULT_CODEC:
        _write_stream(video, path, codec or _DEFAULT_CODEC[suffix], crf, progress)
    else:
        raise ConfigError(f"{path}: cannot write {suffix or 'a file without suffix'}; use .tif, "
                          f"{', '.join(_DEFAULT_CODEC)}.")
    return path


def _write_tiff(video: Video, path: Path, progress: Progress) -> None:
    import tifffile

    units, pages = video.units, len(video) * max(video.info.planes, 1)
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name} {video!r}")          # not random: same frames, same bytes
    axes = "TZYX" if video.is_stack else "TYX"
    metadata: dict[str, Any] = {"axes": axes, "UUID": f"urn:uuid:{name}", "Creator": "vid2dyn"}
    if units.micrometre_per_pixel is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": units.micrometre_per_pixel, f"PhysicalSize{axis}Unit": "µm"}
    if video.is_stack and units.micrometre_per_plane is not None:
        metadata |= {"PhysicalSizeZ": units.micrometre_per_plane, "PhysicalSizeZUnit": "µm"}
    if units.frames_per_second is not None:
        metadata |= {"TimeIncrement": units.dt, "TimeIncrementUnit": "s"}
    if units.exposure is not None:
        metadata["Plane"] = {"ExposureTime": [units.exposure] * pages, "ExposureTimeUnit": ["s"] * pages}

    def frames() -> Any:
        for k, frame in enumerate(video.frames()):
            progress(k + 1, len(video), "writing")
            yield from (frame if video.is_stack else [frame])

    shape = (len(video), *video.shape)
    with atomic(path) as scratch:
        tifffile.imwrite(scratch, frames(), shape=shape, dtype=video.info.dtype, ome=True, compression="zlib",
                         compressionargs={"level": 9}, photometric="minisblack", metadata=metadata,
                         software="vid2dyn")


def _write_stream(video: Video, path: Path, codec: str, crf: int | None, progress: Progress) -> None:
    import av

    height, width = video.shape
    depth = 16 if video.info.dtype == "uint16" else 8
    encoder, formats = _encoder(path, codec, depth)
    if codec == "h264" and (height % 2 or width % 2):
        raise ConfigError(f"{path}: h264 needs an even height and width, not {height} x {width}; "
                          "use codec='ffv1'.")
    rate = Fraction(video.frames_per_second or 25.0).limit_denominator(100_000)
    with atomic(path) as scratch, av.open(str(scratch), "w", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, formats[depth]
        stream.codec_context.thread_count = 1                    # the same bytes on every machine
        stream.codec_context.color_range = _FULL_RANGE           # else players stretch 16-235 to 0-255
        stream.options = {"crf": str(18 if crf is None else crf)} if codec == "h264" else {}
        if codec == "mjpeg":
            stream.options = {"qmin": "2", "qmax": "3"}
        for k, image in enumerate(video.frames()):
            frame = av.VideoFrame.from_ndarray(image, format="gray" if depth == 8 else "gray16le")
            frame.color_range = _FULL_RANGE
            for packet in stream.encode(frame):
                container.mux(packet)
            progress(k + 1, len(video), "writing")
        for packet in stream.encode():
            container.mux(packet)


def _encoder(path: Path, codec: str, depth: int) -> tuple[str, dict[int, str]]:
    """Name of the encoder and its pixel formats, or why it cannot be used."""
    import av

    if codec not in _CODECS:
        raise ConfigError(f"{path}: unknown codec {codec!r}; known: {', '.join(_CODECS)}.")
    encoder, formats = _CODECS[codec]
    if depth not in formats:
        raise ConfigError(f"{path}: {codec} cannot hold {depth} bit; use codec='ffv1' or .tif.")
    if encoder not in av.codecs_available:
        raise ConfigError(f"{path}: this installation of PyAV has no {encoder} encoder; use codec='ffv1'.")
    return encoder, formats
