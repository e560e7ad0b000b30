"""Reading TrackMate's XML, one element at a time.

The parser keeps the numbers only, so memory grows with the spots, not with the text. A document type is refused: it is
what entity bombs and external entities need, and TrackMate writes none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import pandas as pd

from vid2dyn.core.errors import DataError

_SKIPPED = ("ID", "name", "VISIBILITY", "ROI_N_POINTS")


class _Reader:
    """Collects spots, edges and calibration while expat walks through the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = ""
        self.model: dict[str, str] = {}
        self.image: dict[str, str] = {}
        self.spots: list[dict[str, float]] = []
        self.ids: list[int] = []
        self.edges: list[tuple[int, int, int]] = []
        self.filtered: set[int] | None = None
        self.track = -1

    def parse(self) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self.start
        parser.StartDoctypeDeclHandler = self.refuse
        parser.EntityDeclHandler = self.refuse
        try:
            with open(self.path, "rb") as stream:
                parser.ParseFile(stream)
        except DataError:
            raise
        except expat.ExpatError as error:
            raise DataError(f"{self.path}: not valid XML ({error}). The file is cut off or damaged; export it from "
                            "TrackMate again.") from None
        except (KeyError, ValueError) as error:
            raise DataError(f"{self.path}, line {parser.CurrentLineNumber}: an element lacks a number that it needs "
                            f"({error}). Export the file from TrackMate again.") from None

    def refuse(self, *_: Any) -> None:
        raise DataError(f"{self.path}: the XML declares a document type or entities, which TrackMate never does; "
                        "refused for safety. Export the file from TrackMate again.")

    def start(self, name: str, given: dict[str, str]) -> None:
        if not self.root:
            if name not in ("TrackMate", "Tracks"):
                raise DataError(f"{self.path}: an XML file, but its first element is <{name}>, not TrackMate's. Give "
                                "a file saved by TrackMate or its exported tracks.")
            self.root = name
            self.model = given if name == "Tracks" else {}
        elif self.root == "Tracks":
            self.exported(name, given)
        else:
            self.saved(name, given)

    def exported(self, name: str, given: dict[str, str]) -> None:
        """Elements of "Export tracks to XML file"."""
        if name == "particle":
            self.track += 1
        elif name == "detection":
            self.spots.append({"FRAME": float(given["t"]), "TRACK_ID": float(self.track),
                               "POSITION_X": float(given["x"]), "POSITION_Y": float(given["y"]),
                               "POSITION_Z": float(given.get("z", 0.0))})

    def saved(self, name: str, given: dict[str, str]) -> None:
        """Elements of TrackMate's own file."""
        if name == "Spot":
            if float(given.get("VISIBILITY", 1)) == 0:
                return                                              # hidden by a spot filter
            self.ids.append(int(given["ID"]))
            self.spots.append({key: float(value) for key, value in given.items() if key not in _SKIPPED
                               and _is_number(value)})
            if not {"FRAME", "POSITION_X", "POSITION_Y"} <= self.spots[-1].keys():
                raise KeyError("FRAME, POSITION_X, POSITION_Y")
        elif name == "Track":
            self.track = int(given["TRACK_ID"])
        elif name == "Edge":
            self.edges.append((int(given["SPOT_SOURCE_ID"]), int(given["SPOT_TARGET_ID"]), self.track))
        elif name == "FilteredTracks":
            self.filtered = set()
        elif name == "TrackID" and self.filtered is not None:
            self.filtered.add(int(given["TRACK_ID"]))
        elif name == "Model":
            self.model = given
        elif name == "ImageData":
            self.image = given

    def table(self) -> pd.DataFrame:
        table = pd.DataFrame(self.spots)
        if self.root == "Tracks" or not len(table):
            return table
        of_spot: dict[int, int] = {}
        for source, target, track in self.edges:
            of_spot[source] = of_spot[target] = track
        table["TRACK_ID"] = np.array([of_spot.get(spot, -1) for spot in self.ids], dtype=np.int64)
        if self.filtered is None:
            return table
        shown = table["TRACK_ID"].isin([-1, *self.filtered])
        return table[shown].reset_index(drop=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_xml(path: Path) -> dict[str, Any]:
    """The arguments of `vid2dyn.convert.trackmate.Spots` from either kind of XML file."""
    reader = _Reader(path)
    reader.parse()
    model, image = reader.model, reader.image
    if reader.root == "Tracks":
        return {"table": reader.table(), "length_unit": model.get("spaceUnits", ""),
                "time_unit": model.get("timeUnits", ""), "interval": _number(model, "frameInterval")}
    height, width = _number(image, "height"), _number(image, "width")
    return {"table": reader.table(), "length_unit": model.get("spatialunits", ""),
            "time_unit": model.get("timeunits", ""), "pixel": _number(image, "pixelwidth"),
            "interval": _number(image, "timeinterval"), "size": (height, width) if height and width else None}


def _number(attributes: dict[str, str], key: str) -> float | None:
    """The attribute as a positive number, else None."""
    text = attributes.get(key, "")
    value = float(text) if _is_number(text) else 0.0
    return value if np.isfinite(value) and value > 0 else None
