"""What kernels need and Numba has no name for: bare pointers, eight bytes at a time, trailing zeros, wide products.

A kernel takes arrays, turns them into pointers once and hands those to its helpers. Numba counts references, with
atomic instructions, whenever an array is passed on; for a pointer there is nothing to count. Measured on the word
split: 480 MB/s instead of 210. A pointer knows no bounds and no negative index: the caller checks. Nor does it keep its
array: one that a kernel makes itself is freed after its last use as an array, so let the caller make it.

    @inlined
    def first(text): return text[0]

    @kernel
    def first_byte(data): return first(pointer(data))
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# A helper of kernels, pasted into its callers: it is never compiled, nor cached, on its own.
inlined: Any = njit(inline="always")

_instruction: Any = intrinsic  # its own type says nothing of the calls that compiled code makes

_BYTE = np.uint64(8)


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to. Numba compiles a kernel anew for writable arrays: let it see one kind only."""
    view = array.view()
    view.flags.writeable = False
    return view


@_instruction
def pointer(typing_context, array):
    """Address of the first element of a contiguous array; indexing it reads and writes without checks."""

    def generate(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@_instruction
def _load64(typing_context, data, i):
    def generate(context, builder, signature, args):
        address = builder.gep(args[0], [args[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@_instruction
def store64(typing_context, data, i, x):
    """Write a uint64 to data[i:i + 8], lowest byte first."""

    def generate(context, builder, signature, args):
        address = builder.gep(args[0], [args[1]])
        builder.store(args[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), generate


@_instruction
def trailing_zeros(typing_context, x):
    """Zero bits below the lowest one of a uint64; 64 for 0."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@inlined
def load_bytes(data, i, end):
    """Up to 8 bytes of data[i:end] as uint64, first byte lowest, zeros above."""
    if i + 8 <= end:
        return _load64(data, i)
    x = np.uint64(0)
    for j in range(end - 1, i - 1, -1):
        x = x << _BYTE | np.uint64(data[j])
    return x


@_instruction
def equal_before(typing_context, data, i):
    """uint64 whose bit k is set where data[i - 16 + k] equals data[i]; data points to int32, 16 values before i."""

    def generate(context, builder, signature, args):
        lanes, number = ir.VectorType(ir.IntType(32), 16), ir.IntType(32)
        first = builder.gep(args[0], [builder.sub(args[1], ir.Constant(ir.IntType(64), 16))])
        values = builder.load(builder.bitcast(first, lanes.as_pointer()), align=4)
        one = builder.load(builder.gep(args[0], [args[1]]))
        spread = builder.insert_element(ir.Constant(lanes, ir.Undefined), one, ir.Constant(number, 0))
        zeros = ir.Constant(ir.VectorType(number, 16), [0] * 16)
        spread = builder.shuffle_vector(spread, ir.Constant(lanes, ir.Undefined), zeros)
        bits = builder.bitcast(builder.icmp_unsigned("==", values, spread), ir.IntType(16))
        return builder.zext(bits, ir.IntType(64))

    return types.uint64(data, types.int64), generate


@_instruction
def prefetch(typing_context, data, i):
    """Ask for the cache line of data[i], which will be read some hundred instructions later; a hint, never an error."""

    def generate(context, builder, signature, args):
        address = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # To be read; to stay in all levels of the cache; data.
        builder.call(instruction, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(data, types.int64), generate


MERSENNE_61 = (1 << 61) - 1


@_instruction
def times_modulo_61(typing_context, a, b):
    """a * b modulo the prime 2^61 - 1, for uint64 a and b below it."""

    def generate(context, builder, signature, args):
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        prime = ir.Constant(word, MERSENNE_61)
        low = builder.and_(builder.trunc(product, word), prime)
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 61)), word)
        total = builder.add(low, high)
        return builder.select(builder.icmp_unsigned(">=", total, prime), builder.sub(total, prime), total)

    return types.uint64(types.uint64, types.uint64), generate
