"""The control block: one array of int64 through which Python and the compiled callback know of each other.

It holds addresses of functions and arrays, handles of MPI, what the model has, what went wrong, and buffers. Numbers
that are not whole stand in the array NUMBERS, by the names at the end. Numba keeps compiled code by the file it stands
in: who changes this file deletes the `__pycache__` beside it.
"""

from __future__ import annotations


class _Layout:
    """Hands out places one after another."""

    def __init__(self) -> None:
        self.used = 0

    def places(self, how_many: int, words: int = 1) -> tuple[int, ...]:
        """First words of so many entries."""
        start, self.used = self.used, self.used + how_many * words
        return tuple(range(start, self.used, words))


_layout = _Layout()

# functions of C by their addresses
(REALLOC, WTIME, CLOCK, EXTRACT_ATOM, EXTRACT_SETTING, NEIGHBOURS, LIST_SIZE, FORCE_STOP, ISEND, IRECV, WAITALL,
 ALLREDUCE) = _layout.places(12)
# handles: the instance of LAMMPS, its neighbour list, of MPI
LAMMPS, LIST, COMMUNICATOR, BYTE, DOUBLE, SUM, REQUEST_SIZE, RANK, RANKS = _layout.places(9)
# names as C strings
VELOCITY, ENTROPY, TYPE, IMAGE, GHOSTS, AGO = _layout.places(6)
# processes along each axis and whether it is periodic (three words each), the two corners of the box
GRID, PERIODIC = _layout.places(2, words=3)
BOX_LOW, BOX_HIGH = _layout.places(2)
# arrays of the model: address and the lengths of three axes
RADIAL, PAIRS, KIND, NODES, DENSITY, EXTERNAL, CENTRE = _layout.places(7, words=4)
# arrays whose lengths are known
EOS_GRID, SPAN, EXTERNAL_GRID, MASS, ALONE, KEEP, KICK, NUMBERS = _layout.places(8)
# whole numbers of the model
(DIM, SPECIES, RADIAL_ROWS, TEMPERATURE_POWER, VOLUME_POWER, CONDUCTS, DISSIPATES, HAS_BATH, HAS_ONE_BODY,
 SEED) = _layout.places(10)
# how it goes; WHO: id of a particle that CODE is about
LAST_STEP, CODE, WHO, WHO_TOO, STOPPED, ITERATIONS, LISTED, PEERS = _layout.places(8)
FORWARDS, FORWARD_BYTES, REDUCTIONS, REBUILDS, CALLS = _layout.places(5)
# buffers: address and bytes
(PEER_RANKS, SEND_START, RECEIVE_START, SEND_ROWS, RECEIVE_ROWS, OWN_FROM, OWN_TO, OUTBOX, INBOX, REQUESTS, STATUSES,
 ROW_START, LISTED_FIRST, LISTED_SECOND, FIRST, SECOND, UNIT, PULL, SLOPE, ROUGH, SPREAD, FRICTION, IMPULSE,
 CONDUCTION, HEAT, STATE, INTERNAL, FORCE, BEFORE, RESIDUAL, CHANGE, DIRECTION, IMAGE_OF, RELAX, WORK, BODY,
 COLUMN_RESIDUAL, COLUMN_CHANGE, COLUMN_DIRECTION, COLUMN_IMAGE, SUMS) = _layout.places(41, words=2)
SLOTS = _layout.used
BUFFERS = range(PEER_RANKS, SLOTS, 2)

# the array NUMBERS; WRONG: numbers that CODE is about
(DT, KB, TOLERANCE, TEMPERATURE, CUTOFF, GHOST_CUTOFF, STIFFNESS, WRONG, WRONG_TOO, COMMUNICATION_TIME,
 COMMUNICATION_CPU, CALLBACK_TIME) = range(12)
COUNT_OF_NUMBERS = 12

# values of CODE
FINE, LEFT_TABLE, COINCIDE, FRICTION_UNSETTLED, NO_ENTROPY, CONDUCTION_UNSETTLED, NO_OWNER = range(7)
