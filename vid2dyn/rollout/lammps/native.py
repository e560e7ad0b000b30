"""What compiled code needs to talk to C: functions called by address, memory seen as arrays, buffers that grow.

LAMMPS and MPI are called from a compiled callback, so no Python runs in the loop. Addresses come in an array of whole
numbers, the control block (`vid2dyn.rollout.lammps.control`), and are not baked into the code: it stays in numba's
cache from run to run. All arguments are passed as 64-bit words, which the calling conventions of x86-64 and AArch64
let a callee read as `int` or pointer alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from vid2dyn.rollout.lammps.control import REALLOC

_WORD = ir.IntType(64)


def _as_pointer(typing_context, address):  # type: ignore[no-untyped-def]
    """An address as a void pointer."""
    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), code


_pointer: Any = intrinsic(_as_pointer)


def _call(result, llvm_result):  # type: ignore[no-untyped-def]
    """An intrinsic that calls a C function at an address with a tuple of whole numbers."""
    def typed(typing_context, function, arguments):  # type: ignore[no-untyped-def]
        def code(context, builder, signature, given):  # type: ignore[no-untyped-def]
            address, packed = given
            kinds = signature.args[1]
            words = [context.cast(builder, builder.extract_value(packed, k), kind, types.int64)
                     for k, kind in enumerate(kinds)]
            kind = ir.FunctionType(llvm_result, [_WORD] * len(words))
            return builder.call(builder.inttoptr(address, kind.as_pointer()), words)

        return result(types.int64, arguments), code

    return typed


call_int: Any = intrinsic(_call(types.int32, ir.IntType(32)))
call_word: Any = intrinsic(_call(types.int64, _WORD))
call_double: Any = intrinsic(_call(types.float64, ir.DoubleType()))


@njit(cache=True)
def doubles(address, rows, columns):  # type: ignore[no-untyped-def]
    """Memory at an address as a (rows, columns) array of float64."""
    return carray(_pointer(address), (rows, columns), np.float64)


@njit(cache=True)
def numbers(address, count):  # type: ignore[no-untyped-def]
    """Memory at an address as an array of float64."""
    return carray(_pointer(address), (count,), np.float64)


@njit(cache=True)
def words(address, count):  # type: ignore[no-untyped-def]
    """Memory at an address as an array of int64."""
    return carray(_pointer(address), (count,), np.int64)


@njit(cache=True)
def integers(address, count):  # type: ignore[no-untyped-def]
    """Memory at an address as an array of int32."""
    return carray(_pointer(address), (count,), np.int32)


@njit(cache=True)
def room(control, slot, size):  # type: ignore[no-untyped-def]
    """Address of the buffer at `slot` (address, bytes), made longer if it has less than `size` bytes."""
    if control[slot + 1] < size:
        larger = size + size // 4 + 64
        control[slot] = call_word(control[REALLOC], (control[slot], larger))
        control[slot + 1] = larger
    return control[slot]


@njit(cache=True)
def double_room(control, slot, rows, columns):  # type: ignore[no-untyped-def]
    """The buffer at `slot` as a (rows, columns) array of float64; what it held before is lost."""
    return doubles(room(control, slot, 8 * rows * columns), rows, columns)


@njit(cache=True)
def integer_room(control, slot, count):  # type: ignore[no-untyped-def]
    """The buffer at `slot` as an array of int32."""
    return integers(room(control, slot, 4 * count), count)


@njit(cache=True)
def word_room(control, slot, count):  # type: ignore[no-untyped-def]
    """The buffer at `slot` as an array of int64."""
    return words(room(control, slot, 8 * count), count)
