"""The one place that imports OpenCV.

opencv-python sets QT_QPA_PLATFORM_PLUGIN_PATH and QT_QPA_FONTDIR while it is imported, which points
Qt programs (napari) to OpenCV's own copy of Qt and kills them. Import it from here: ``from vid2dyn.core.opencv import
cv2``. Never call `cv2.imshow`.
"""

import os

_VARIABLES = ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR")
_before = {name: os.environ.get(name) for name in _VARIABLES}

import cv2  # noqa: E402

for _name, _value in _before.items():
    if _value is None:
        os.environ.pop(_name, None)
    else:
        os.environ[_name] = _value

__all__ = ["cv2"]
