"""What the columns of tracking's tables of numbers hold: every layout is written here and nowhere else.

The names are plain integers: compiled code takes those of a module as constants, so that ``spots[i, WIDTH]`` costs what
``spots[i, 3]`` does.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

Y, X = 0, 1
"""Position [px], the first two columns of every table of spots or detections; of standard errors in those of errors."""

AMPLITUDE, WIDTH, BACKGROUND, MOVE, MISFIT = range(2, 7)
"""Further columns of a table of fitted spots, (N, `SPOT_COLUMNS`): brightness at the centre [grey levels], width of the
Gaussian [px], background [grey levels], last move of the centre or of the width [px], mean squared difference of image
and model where no neighbour is near [grey levels²]."""
SPOT_COLUMNS = 7
UNSETTLED = 1e3
"""Last move [px] of a spot that has not been fitted yet, or has to be fitted again: far beyond any limit of rest."""

PIXEL_NOISE = 2
"""Third column of a table of errors, (N, `ERROR_COLUMNS`): noise of the pixels that place the spot [grey levels]. The
first two are the standard errors of y and x [px]."""
ERROR_COLUMNS = 3

MASS, SIZE, ECC, SIGNAL, RAW_MASS = range(5)
"""Columns of a table of appearances, (N, 5): summed brightness [grey levels], radius of gyration [px], eccentricity,
highest filtered pixel [grey levels], summed raw brightness [grey levels]."""


class Feature(IntEnum):
    """Columns of a table of features, (N, 10): what a detector hands on.

    Position and its standard error [px]; the appearance: summed brightness [grey levels], radius of gyration [px],
    eccentricity, highest filtered pixel [grey levels], summed raw brightness [grey levels]; and how the position was
    found (`FLAGS`).
    """

    Y = 0
    X = 1
    Y_STD = 2
    X_STD = 3
    MASS = 4
    SIZE = 5
    ECC = 6
    SIGNAL = 7
    RAW_MASS = 8
    FLAG = 9


SIZE_OF_IMAGE, SIZE_OF_IMAGE_STD, SPECIES, SPECIES_P = range(10, 14)
"""Further columns of a table of features, (N, 14), where sizes differ (`Track.sizes`): size of the image and its
standard error [px], class (0 is the smallest), probability of that class from the image of the particle."""
SIZED_COLUMNS = 14

COLUMNS = tuple(column.name.lower() for column in Feature)
"""Names of the columns of a feature table, see `Feature`."""
SIZE_COLUMNS, SIZE_COLUMNS_UM = ("size_px", "size_px_std"), ("size_um", "size_um_std")
"""Names of the first two in a table of tracks, in pixels, and with a calibration in micrometres; with classes,
`CLASS_COLUMNS` follow."""
CLASS_COLUMNS = ("species", "p_species")
"""Name of the class, the same for all of a track, and its probability."""


def species_names(classes: int) -> tuple[str, ...]:
    """What classes of sizes are called, small ones first.

    >>> species_names(2), species_names(4)
    (('small', 'large'), ('size 1', 'size 2', 'size 3', 'size 4'))
    """
    known = {1: ("all",), 2: ("small", "large"), 3: ("small", "medium", "large")}
    return known.get(classes, tuple(f"size {k + 1}" for k in range(classes)))


class StackFeature(IntEnum):
    """Columns of a table of features of a stack, (N, 9): place y, x, z and its standard error, all in pixels (planes
    are converted), summed brightness, brightness at the centre [grey levels], and how it was found (`FLAGS`)."""

    Y = 0
    X = 1
    Z = 2
    Y_STD = 3
    X_STD = 4
    Z_STD = 5
    MASS = 6
    SIGNAL = 7
    FLAG = 8


STACK_COLUMNS = tuple(column.name.lower() for column in StackFeature)
"""Names of the columns of a feature table of stacks, see `StackFeature`."""
BY_WIDTH = {len(COLUMNS): COLUMNS, SIZED_COLUMNS: COLUMNS, len(STACK_COLUMNS): STACK_COLUMNS}
"""Names of the columns that a table with so many has at least: of flat images and of stacks."""
POSITION = slice(Feature.Y, Feature.X + 1)
"""The columns y, x of a feature table [px]."""
STD = slice(Feature.Y_STD, Feature.X_STD + 1)
"""The columns y_std, x_std of a feature table [px]."""


class Flag(IntFlag):
    """Bits of the column `flag`; 0 is the centroid of a mask (trackpy's)."""

    ALONE = 1
    TOGETHER = 2
    WIDTH_HELD = 4
    ADDED = 8
    SATURATED = 16
    PROFILE = 32
    CUT = 64


FLAGS = {1: "fitted on its own", 2: "fitted together with its neighbours", 4: "width held fixed",
         8: "found in what the others left", 16: "saturated pixels", 32: "measured profile", 64: "cut by the frame"}
"""Bits of the column `flag` in words; 0 is the centroid of a mask (trackpy's)."""
