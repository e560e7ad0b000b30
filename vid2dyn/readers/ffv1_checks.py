"""Checksums of FFV1 movies: FFmpeg fills a slice whose checksum is wrong with the frame before, and says so nowhere.

A packet of FFV1 version 3 or 4 is a chain of slices. Each ends in its size (3 bytes) and, where the movie was made with
error checking, a status (1 byte) and a checksum (4 bytes) that makes the CRC-32 of the slice that of no error. Layout:
RFC 9043, sections 4.9 and 4.3.3; polynomial 0x04C11DB7, not reflected.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_POLYNOMIAL = 0x04C11DB7
_STARTS = (0, 0x7A8C4079)         # of the register, by version


def _table() -> np.ndarray:
    table = np.zeros(256, np.uint32)
    for k in range(256):
        value = k << 24
        for _ in range(8):
            value = ((value << 1) ^ _POLYNOMIAL if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table[k] = value
    return table


_TABLE = _table()


@njit(cache=True, nogil=True)
def _crc(data, start, table):
    value = np.uint32(start)
    for byte in data:
        value = np.uint32(value << np.uint32(8)) ^ table[(value >> np.uint32(24)) ^ np.uint32(byte)]
    return value


def slices(packet: np.ndarray, trailer: int) -> list[tuple[int, int]] | None:
    """(first byte, end) of every slice, last one first, if trailers of `trailer` bytes chain through the packet."""
    found: list[tuple[int, int]] = []
    end = len(packet)
    while end > 0:
        if end < trailer:
            return None
        size = int(packet[end - trailer]) << 16 | int(packet[end - trailer + 1]) << 8 | int(packet[end - trailer + 2])
        start = end - trailer - size
        if start < 0 or size == 0:
            return None
        found.append((start, end))
        end = start
    return found


def damaged(packet: bytes) -> bool:
    """Whether a packet of FFV1 version 3 or later cannot be trusted.

    True where the chain of slices is broken or a checksum is wrong; a movie without checksums passes as long as its
    chain is whole.

    >>> body = np.arange(40, dtype=np.uint8).tobytes() + bytes([0, 0, 40, 0])
    >>> whole = body + int(_crc(np.frombuffer(body, np.uint8), 0, _TABLE)).to_bytes(4, "big")
    >>> damaged(whole), damaged(b"x" + whole[1:])
    (False, True)
    """
    data = np.frombuffer(packet, np.uint8)
    checked = slices(data, 8)
    if checked is not None:
        return any(all(_crc(data[a:b], start, _TABLE) for start in _STARTS) for a, b in checked)
    return slices(data, 3) is None
