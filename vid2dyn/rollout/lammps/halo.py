"""Values of particles that belong to another process: who owns each ghost, and sending values from owner to ghosts.

LAMMPS makes ghosts of particles near a border and moves their positions along in every step, but a program that uses it
as a library cannot send values of its own along. Here every process finds out, when LAMMPS has renewed its lists, which
process owns each ghost (from its position in the grid of processes), asks it for the row of that particle, and from
then on each forward step is one message to and from every neighbour.

A ghost that lies within rounding of a border is asked for on both sides; the owner says that it has it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vid2dyn.rollout.lammps import control as c
from vid2dyn.rollout.lammps.native import (
    call_double,
    call_int,
    call_word,
    double_room,
    doubles,
    integer_room,
    integers,
    numbers,
    room,
    word_room,
    words,
)

_TAG = 271
_STATUS = 64                                                   # bytes, more than any MPI needs
_NEAR_BORDER = 1e-9
_HASH = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)
def messages(control, out, out_start, into, into_start, size):  # type: ignore[no-untyped-def]
    """Items of `size` bytes to and from every peer; the stretches of each in the boxes are given by their starts."""
    peers = control[c.PEERS]
    ranks = integers(control[c.PEER_RANKS], peers)
    requests = room(control, c.REQUESTS, 2 * peers * control[c.REQUEST_SIZE])
    statuses = room(control, c.STATUSES, 2 * peers * _STATUS)
    pending = 0
    for p in range(peers):
        count = (into_start[p + 1] - into_start[p]) * size
        if count > 0:
            call_int(control[c.IRECV], (into + into_start[p] * size, count, control[c.BYTE], np.int64(ranks[p]), _TAG,
                                        control[c.COMMUNICATOR], requests + pending * control[c.REQUEST_SIZE]))
            pending += 1
    for p in range(peers):
        count = (out_start[p + 1] - out_start[p]) * size
        if count > 0:
            call_int(control[c.ISEND], (out + out_start[p] * size, count, control[c.BYTE], np.int64(ranks[p]), _TAG,
                                        control[c.COMMUNICATOR], requests + pending * control[c.REQUEST_SIZE]))
            pending += 1
            control[c.FORWARD_BYTES] += count
    if pending > 0:
        call_int(control[c.WAITALL], (pending, requests, statuses))


@njit(cache=True)
def _spent(control, clock, ticks):  # type: ignore[no-untyped-def]
    """Add the time since `clock` to that of communication, and the CPU time (µs of C's clock()) since `ticks`."""
    values = numbers(control[c.NUMBERS], c.COUNT_OF_NUMBERS)
    values[c.COMMUNICATION_TIME] += call_double(control[c.WTIME], ()) - clock
    values[c.COMMUNICATION_CPU] += 1e-6 * (call_word(control[c.CLOCK], ()) - ticks)


@njit(cache=True)
def forward(control, values):  # type: ignore[no-untyped-def]
    """Rows of ghosts in `values` (owned and ghosts, k) become those of the particles that they are images of."""
    columns = values.shape[1]
    control[c.FORWARDS] += 1
    own = control[c.OWN_FROM + 1] // 4
    source, target = integers(control[c.OWN_FROM], own), integers(control[c.OWN_TO], own)
    for k in range(1, source[0] + 1):
        for q in range(columns):
            values[target[k], q] = values[source[k], q]
    peers = control[c.PEERS]
    if peers == 0:
        return
    clock, ticks = call_double(control[c.WTIME], ()), call_word(control[c.CLOCK], ())
    send_start, receive_start = words(control[c.SEND_START], peers + 1), words(control[c.RECEIVE_START], peers + 1)
    rows = integers(control[c.SEND_ROWS], send_start[peers])
    outbox = double_room(control, c.OUTBOX, send_start[peers] + 1, columns)
    inbox = double_room(control, c.INBOX, receive_start[peers] + 1, columns)
    for k in range(send_start[peers]):
        for q in range(columns):
            outbox[k, q] = values[rows[k], q]
    messages(control, control[c.OUTBOX], send_start, control[c.INBOX], receive_start, 8 * columns)
    rows = integers(control[c.RECEIVE_ROWS], receive_start[peers])
    for k in range(receive_start[peers]):
        for q in range(columns):
            values[rows[k], q] = inbox[k, q]
    _spent(control, clock, ticks)


@njit(cache=True)
def summed(control, first, second):  # type: ignore[no-untyped-def]
    """Two numbers summed over all processes."""
    if control[c.RANKS] == 1:
        return first, second
    clock, ticks = call_double(control[c.WTIME], ()), call_word(control[c.CLOCK], ())
    sums = double_room(control, c.SUMS, 2, 2)
    sums[0, 0], sums[0, 1] = first, second
    control[c.REDUCTIONS] += 1
    call_int(control[c.ALLREDUCE], (control[c.SUMS], control[c.SUMS] + 16, 2, control[c.DOUBLE], control[c.SUM],
                                    control[c.COMMUNICATOR]))
    _spent(control, clock, ticks)
    return sums[1, 0], sums[1, 1]


@njit(cache=True)
def _table_of(ids, n):  # type: ignore[no-untyped-def]
    """(keys, rows, mask): an open hash table from id to row of the particles that this process owns."""
    size = 16
    while size < 2 * n + 2:
        size *= 2
    keys, rows, mask = np.zeros(size, np.int32), np.empty(size, np.int32), size - 1
    for i in range(n):
        at = np.int64((np.uint64(ids[i]) * _HASH) >> np.uint64(33)) & mask
        while keys[at] != 0:
            at = (at + 1) & mask
        keys[at], rows[at] = ids[i], i
    return keys, rows, mask


@njit(cache=True)
def _row_of(keys, rows, mask, wanted):  # type: ignore[no-untyped-def]
    """Row of an id, -1 if another process owns it."""
    at = np.int64((np.uint64(wanted) * _HASH) >> np.uint64(33)) & mask
    while keys[at] != 0:
        if keys[at] == wanted:
            return rows[at]
        at = (at + 1) & mask
    return -1


@njit(cache=True)
def _find_peers(control, low, width):  # type: ignore[no-untyped-def]
    """Ranks within the ghost cutoff of this one, into PEER_RANKS; returns number of the peer of every rank, or -1."""
    reach = numbers(control[c.NUMBERS], c.COUNT_OF_NUMBERS)[c.GHOST_CUTOFF]
    gy, gz = control[c.GRID + 1], control[c.GRID + 2]
    rank = control[c.RANK]
    mine = (rank // (gy * gz), (rank // gz) % gy, rank % gz)
    steps = np.zeros(3, np.int64)
    for a in range(3):
        if control[c.GRID + a] > 1:
            steps[a] = min(np.int64(math.ceil(reach / width[a] + _NEAR_BORDER)), control[c.GRID + a])
    peer = np.full(control[c.RANKS], -1, np.int32)
    found = integer_room(control, c.PEER_RANKS, (2 * steps[0] + 1) * (2 * steps[1] + 1) * (2 * steps[2] + 1))
    count = 0
    for i in range(-steps[0], steps[0] + 1):
        for j in range(-steps[1], steps[1] + 1):
            for k in range(-steps[2], steps[2] + 1):
                at = np.array([mine[0] + i, mine[1] + j, mine[2] + k])
                inside = True
                for a in range(3):
                    edge = control[c.GRID + a]
                    if control[c.PERIODIC + a] != 0:
                        at[a] %= edge
                    elif at[a] < 0 or at[a] >= edge:
                        inside = False
                other = (at[0] * gy + at[1]) * gz + at[2]
                if inside and other != rank and peer[other] < 0:
                    peer[other] = count
                    found[count] = other
                    count += 1
    control[c.PEERS] = count
    return peer


@njit(cache=True)
def _owners(control, x, k, low, width, out):  # type: ignore[no-untyped-def]
    """Ranks that may own what ghost k is an image of, into `out`; returns how many."""
    first, second = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for a in range(3):
        edge = control[c.GRID + a]
        if edge == 1:
            continue
        u = (x[k, a] - low[a]) / width[a]
        if control[c.PERIODIC + a] != 0:
            u -= edge * math.floor(u / edge)
        cell = np.int64(math.floor(u))
        other = cell
        if u - cell < _NEAR_BORDER:
            other = cell - 1
        elif u - cell > 1.0 - _NEAR_BORDER:
            other = cell + 1
        if control[c.PERIODIC + a] != 0:
            first[a], second[a] = cell % edge, other % edge
        else:
            first[a], second[a] = min(max(cell, 0), edge - 1), min(max(other, 0), edge - 1)
    count = 0
    for choice in range(8):
        doubled = False
        at = np.zeros(3, np.int64)
        for a in range(3):
            if (choice >> a) & 1:
                doubled = doubled or first[a] == second[a]
                at[a] = second[a]
            else:
                at[a] = first[a]
        if not doubled:
            out[count] = (at[0] * control[c.GRID + 1] + at[1]) * control[c.GRID + 2] + at[2]
            count += 1
    return count


@njit(cache=True)
def renew_halo(control, n, m, ids, x):  # type: ignore[no-untyped-def]
    """Find the owner of every ghost, rows n to m; ids (m,), x (m, 3). All processes call it at the same time."""
    low, high = numbers(control[c.BOX_LOW], 3), numbers(control[c.BOX_HIGH], 3)
    width = np.empty(3)
    for a in range(3):
        width[a] = (high[a] - low[a]) / control[c.GRID + a]
    keys, table, mask = _table_of(ids, n)
    peer = _find_peers(control, low, width)
    peers, rank = control[c.PEERS], control[c.RANK]
    source, target = integer_room(control, c.OWN_FROM, m - n + 2), integer_room(control, c.OWN_TO, m - n + 2)
    owners = np.empty(8, np.int64)
    asked = np.zeros(peers + 1, np.int64)
    own, capacity = 0, m - n + 16
    rows, whom = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    requests = 0
    for k in range(n, m):
        many = _owners(control, x, k, low, width, owners)
        for q in range(many):
            if owners[q] == rank:
                row = _row_of(keys, table, mask, ids[k])
                if row >= 0:
                    own += 1
                    source[own], target[own] = row, k
                    break
        else:
            for q in range(many):
                p = peer[owners[q]]
                if p >= 0:
                    if requests == capacity:
                        capacity *= 2
                        longer, others = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
                        for r in range(requests):
                            longer[r], others[r] = rows[r], whom[r]
                        rows, whom = longer, others
                    rows[requests], whom[requests] = k, p
                    asked[p + 1] += 1
                    requests += 1
                elif many == 1 and control[c.CODE] == c.FINE:
                    control[c.CODE], control[c.WHO] = c.NO_OWNER, ids[k] - 1
    source[0] = target[0] = own
    control[c.REBUILDS] += 1
    receive_start = word_room(control, c.RECEIVE_START, peers + 1)
    send_start = word_room(control, c.SEND_START, peers + 1)
    for p in range(peers + 1):
        receive_start[p] = send_start[p] = 0
    if peers == 0:
        return
    _ask(control, peers, ids, rows[:requests], whom[:requests], asked, keys, table, mask)


@njit(cache=True)
def _ask(control, peers, ids, rows, whom, asked, keys, table, mask):  # type: ignore[no-untyped-def]
    """Send to every peer the ids of the ghosts asked of it, and learn which it has; sets the four lists of a step."""
    one_each = np.arange(peers + 1)
    for p in range(peers):
        asked[p + 1] += asked[p]
    order, place = np.empty(len(rows), np.int32), asked.copy()
    for k in range(len(rows)):
        order[place[whom[k]]] = rows[k]
        place[whom[k]] += 1
    counts, theirs = np.empty(peers, np.int64), np.empty(peers, np.int64)
    for p in range(peers):
        counts[p] = asked[p + 1] - asked[p]
    messages(control, counts.ctypes.data, one_each, theirs.ctypes.data, one_each, 8)
    given = np.zeros(peers + 1, np.int64)
    for p in range(peers):
        given[p + 1] = given[p] + theirs[p]
    mine, wanted = np.empty(len(rows) + 1, np.int32), np.empty(given[peers] + 1, np.int32)
    for k in range(len(rows)):
        mine[k] = ids[order[k]]
    messages(control, mine.ctypes.data, asked, wanted.ctypes.data, given, 4)
    have, found = np.empty(given[peers] + 1, np.int32), np.empty(len(rows) + 1, np.int32)
    send_start, receive_start = words(control[c.SEND_START], peers + 1), words(control[c.RECEIVE_START], peers + 1)
    send_rows = integer_room(control, c.SEND_ROWS, given[peers] + 1)
    sent = 0
    for p in range(peers):
        for k in range(given[p], given[p + 1]):
            have[k] = _row_of(keys, table, mask, wanted[k])
            if have[k] >= 0:
                send_rows[sent] = have[k]
                sent += 1
        send_start[p + 1] = sent
    messages(control, have.ctypes.data, given, found.ctypes.data, asked, 4)
    receive_rows = integer_room(control, c.RECEIVE_ROWS, len(rows) + 1)
    received = 0
    for p in range(peers):
        for k in range(asked[p], asked[p + 1]):
            if found[k] >= 0:
                receive_rows[received] = order[k]
                received += 1
        receive_start[p + 1] = received


@njit(cache=True)
def covered(control, n, m):  # type: ignore[no-untyped-def]
    """Whether every ghost has exactly one owner."""
    own = integers(control[c.OWN_FROM], 1)[0]
    received = words(control[c.RECEIVE_START], control[c.PEERS] + 1)[control[c.PEERS]]
    return own + received == m - n


__all__ = ["covered", "doubles", "forward", "messages", "renew_halo", "summed"]
