"""What the settings leave open, chosen from a few frames of a movie and then the same in all of them.

The shape of a spot, its width and the least brightness of a particle belong to the movie. Measured anew in every frame
they would scatter: positions in a crowd follow the width, counts follow the brightness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vid2dyn.data.video import Video
from vid2dyn.tracking.detect.bad_pixels import pixel_notes
from vid2dyn.tracking.detect.minmass import choose_minmass
from vid2dyn.tracking.detect.shape_choice import spot_shape
from vid2dyn.tracking.detect.size_choice import choose_sizes
from vid2dyn.tracking.detect.spot_scale import dark_over_bright
from vid2dyn.tracking.detect.spots import Doubtful, Left, SpotFitter
from vid2dyn.tracking.settings import Track

UNLIKE = 1.6
"""Ratio of the widths of spots (of the outer tenths) that one width will not do for."""
_FEW, _MOST, _PIXELS = 3, 5, 700_000     # frames that settings are chosen from: as many as hold so many pixels
_CLEARLY_DARK = 2.0                # times the bright spots: dark ones are the particles
_MISFIT = 2.5                      # times the noise left: images are not Gaussians, and y_std is no longer right
_ELONGATED = 1.5, 0.12             # mean square left over the noise, and median eccentricity; round ones: 1 and .03
_SHADOWED = 5, 0.02               # lone spots beside bright ones, and their part of all, that are said
_MEASURED, _UNLIKE = 20, 1.6      # spots that tell how widths differ, and the ratio of the outer tenths that is said
_NEAR_KEY = 6                      # frames beyond a key frame, at most


def frame_numbers(video: Video, start: int, stop: int) -> list[int]:
    """Numbers of the frames that settings are chosen from, spread over start <= frame < stop: five, of large ones 3.

    In a compressed movie they are near key frames: a frame far from the key frame before it costs the
    decoding of all between.
    """
    count = min(max(-(-_PIXELS // (video.info.height * video.info.width)), _FEW), _MOST)
    wanted = np.unique(np.linspace(start, stop - 1, count).round().astype(int))
    return sorted({max(start, min(int(k), video.decode_start(int(k)) + _NEAR_KEY)) for k in wanted})


def needs_frames(settings: Track) -> bool:
    """Whether a setting is automatic, and so has to be chosen from frames of the movie.

    >>> needs_frames(Track()), needs_frames(Track(compat="trackpy", minmass=20))
    (True, False)
    """
    if settings.sizes != "one":                            # also where all is given: does it fit?
        return True
    found = settings.compat == "trackpy" or (settings.spot != "auto" and (
        settings.spot == "ring" or settings.spot_width is not None))
    return settings.minmass is None or not found or (settings.invert is None and settings.compat == "none")


def settings_in_force(frames: Sequence[np.ndarray], settings: Track, *, lossy: bool = False) -> Track:
    """The settings with `spot`, `spot_width` and `minmass` filled in where they are automatic.

    Parameters
    ----------
    frames : sequence of (H, W) arrays
        A few frames spread over the movie; the shape is asked of the first and the last one.
    settings : Track
        What is given in it stays. With compat = "trackpy" only `minmass` is chosen.
    lossy : bool
        Whether the movie was compressed with loss (`VideoInfo.with_loss`).

    Examples
    --------
    >>> from vid2dyn.simulators import Brownian, Renderer, render
    >>> video = render(Brownian(n_particles=40, frames=2, box_length=25.6), Renderer(spot_sigma=2.0), seed=0)
    >>> chosen = settings_in_force([video[0], video[1]], Track(diameter=11))
    >>> chosen.spot, round(chosen.spot_width, 1), chosen.minmass > 0
    ('gaussian', 2.0, True)
    """
    return chosen_settings(frames, settings, lossy=lossy)[0]


def chosen_settings(frames: Sequence[np.ndarray], settings: Track, *,
                    lossy: bool = False) -> tuple[Track, tuple[str, ...]]:
    """`settings_in_force`, and what a user should know about the choice, in plain words."""
    notes: tuple[str, ...] = ()
    if settings.sizes != "one":
        settings, notes = choose_sizes(frames, settings)
        return dataclasses.replace(settings, minmass=settings.minmass or 0.0), notes
    if settings.invert is None:
        settings, notes = _polarity(frames, settings)
    if settings.compat == "none":
        if settings.spot == "auto":
            ends = [frames[0], frames[-1]] if len(frames) > 1 else frames
            settings = dataclasses.replace(settings, spot=spot_shape(ends, settings))
        if settings.spot_width is None and settings.spot != "ring":
            settings = dataclasses.replace(settings, spot_width=spot_width(frames, settings))
    if settings.minmass is None:
        limit, more = choose_minmass(frames, settings, lossy=lossy)
        notes += more
        settings = dataclasses.replace(settings, minmass=limit)
    if settings.compat == "none":
        find = SpotFitter(settings)
        some = frames[::2] if len(frames) > _FEW else frames       # what is said of a movie shows in three
        looks = [find.doubtful(frame) for frame in some]
        notes += pixel_notes([look.bad_pixels for look in looks])
        notes += _misfit_notes(find.left(frames[0]), settings)
        if settings.spot == "gaussian":
            notes += _doubts(looks, settings)
    return settings, notes


def sizes_differ(frames: Sequence[np.ndarray], settings: Track) -> bool:
    """Whether images of particles are too unlike for one width: spots alone differ in theirs, or crowds of Gaussians
    leave much more than noise. `settings` in force, with sizes = "one"."""
    if settings.compat != "none":
        return False
    find = SpotFitter(settings)
    if _poor(find.left(frames[0]).in_crowds):
        return True
    return settings.spot == "gaussian" and _unlike([find.doubtful(frame, 1.0).widths for frame in frames]) is not None


def _poor(left: float) -> bool:
    """Of `left`, what Gaussians leave of images over the noise, mean square."""
    return left >= _MISFIT**2


def _unlike(widths: Sequence[np.ndarray]) -> tuple[float, float, int] | None:
    """A tenth of the spots is narrower than the first and a tenth wider than the second [px], of how many spots; None
    where they are alike or too few."""
    together = np.concatenate(widths)
    if len(together) < _MEASURED:
        return None
    low, high = np.quantile(together, [0.1, 0.9])
    return (float(low), float(high), len(together)) if high > UNLIKE * low else None


def _misfit_notes(left: Left, settings: Track) -> tuple[str, ...]:
    """A word where images are not the Gaussians they are fitted with."""
    if _poor(left.in_crowds):
        return (f"Images touch, and the Gaussians fitted to them leave {np.sqrt(left.in_crowds):.0f} times the noise "
                "of the camera: positions are off by several times y_std and x_std, and particles may be doubled or "
                "missed. Give sizes = 'classes' (or 'one' with spot = 'disc' or 'ring'): that finds out whether they "
                "are discs or rings, of how many sizes, and fits them together.",)
    if left.alone > _ELONGATED[0] and left.eccentricity > _ELONGATED[1]:
        width = f", {settings.spot_width:.2g} px," if settings.spot_width is not None else ""
        return (f"Images are elongated (median eccentricity {left.eccentricity:.2f}), and the Gaussians fitted to them "
                f"leave {np.sqrt(left.alone):.2g} times the noise of the camera: two particles side by side that are "
                f"found as one, motion during the exposure, or astigmatism. The width of a spot{width} is that of such "
                "images. Pairs need a higher magnification, or a smaller diameter with noise_size = 0.5; look at the "
                "picture of the detections.",)
    return ()


def _doubts(looks: Sequence[Doubtful], settings: Track) -> tuple[str, ...]:
    """A word where dim particles beside bright ones may be lost, and where spots of several sizes share one width."""
    notes = []
    shadowed, spots = sum(look.shadowed for look in looks), sum(look.spots for look in looks)
    if shadowed >= _SHADOWED[0] and shadowed > _SHADOWED[1] * spots:
        notes.append(f"In {len(looks)} frames looked at, {shadowed} spots stand alone within 1.5 diameters "
                     f"({1.5 * settings.diameter:g} px) of one more than four times as bright ({spots} spots are "
                     "found). They are taken for parts of its diffraction ring and are not tracked. If they are "
                     "particles, give a smaller diameter: two thirds of their distance from the bright ones.")
    unlike = _unlike([look.widths for look in looks])
    if unlike is not None and settings.spot_width is not None:
        low, high, count = unlike
        notes.append(f"Spots differ in width: a tenth are narrower than {low:.2g} px and a tenth wider than "
                     f"{high:.2g} px (standard deviations of Gaussians, {count} spots), and all are fitted "
                     f"with one width, {settings.spot_width:.2g} px. Positions stay unbiased where spots are "
                     "apart; stated errors and brightness are off for those that differ, and in crowds positions "
                     "are, too. Give sizes = 'classes' (populations, each with its own width) or 'each' (a "
                     "width for every particle).")
    return tuple(notes)


def _polarity(frames: Sequence[np.ndarray], settings: Track) -> tuple[Track, tuple[str, ...]]:
    """The settings with `invert` chosen, and a word where the choice is not the plain one."""
    if settings.compat == "trackpy":
        return dataclasses.replace(settings, invert=False), ()
    ends = [frames[0], frames[-1]] if len(frames) > 1 else list(frames)
    whole, typical = dark_over_bright(ends)
    dark = min(whole, typical) > _CLEARLY_DARK
    settings = dataclasses.replace(settings, invert=dark)
    if dark:
        return settings, ("The particles are dark on a bright background: invert = true was chosen. Give invert = "
                          "false to "
                          "track what is bright (halos of dark particles are).",)
    if whole > 1 / _CLEARLY_DARK:
        return settings, (f"Dark spots are {whole:.2g} times as strong as bright ones: the particles may be dark, "
                          "rings, or "
                          "above and below the focus. Bright ones are tracked; give invert = true for the dark ones, "
                          "and "
                          "see vd.suggest.",)
    return settings, ()


def spot_width(frames: Sequence[np.ndarray], settings: Track) -> float | None:
    """The median over the frames of the typical width of a spot [px]; None where there are no spots.

    Frames in which enough spots stand alone count before others, whose widths are less certain.
    """
    find = SpotFitter(dataclasses.replace(settings, minmass=settings.minmass or 0.0))
    measured = [found for frame in frames if (found := find.width(frame)) is not None]
    widths = [width for width, known in measured if known] or [width for width, _ in measured]
    return float(np.median(widths)) if widths else None
