"""Machine instructions that Numba has no name for, written as LLVM operations (so for every processor).

    mask = word_bits64(data, i)      # which of data[i:i+64] belong to a word
    prefix = load_u64(data, i)       # data[i:i+8], little-endian, at any alignment

None of them checks bounds: the caller does.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic


def intrinsic(function: Any) -> Any:
    """Numba's decorator, for type checkers a thing that kernels may call."""
    return numba_intrinsic(function)


_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def _pointer(context, builder, array_type, array, index):
    """Address of array[index] for a one-dimensional C-contiguous array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def word_bits64(typingctx, data, index):
    """uint64 whose bit k is set where data[index + k] is not one of fastText's seven separators."""

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(_I8, 64)

        def splat(value):
            return ir.Constant(vector, [value] * 64)

        pointer = _pointer(context, builder, signature.args[0], *args)
        loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1)
        control = builder.icmp_unsigned("<", builder.sub(loaded, splat(9)), splat(5))  # \t \n \v \f \r
        space = builder.icmp_unsigned("==", loaded, splat(32))
        nul = builder.icmp_unsigned("==", loaded, splat(0))
        word = builder.not_(builder.or_(builder.or_(control, space), nul))
        return builder.bitcast(word, _I64)

    return types.uint64(data, types.intp), codegen


@intrinsic
def load_u64(typingctx, data, index):
    """The eight bytes at data[index:index + 8] as a little-endian uint64."""

    def codegen(context, builder, signature, args):
        pointer = builder.bitcast(_pointer(context, builder, signature.args[0], *args), _I64.as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(data, types.intp), codegen


@intrinsic
def load_f32(typingctx, data, index):
    """The float32 stored at data[index:index + 4] of a uint8 array, at any alignment."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        return builder.load(builder.bitcast(pointer, ir.FloatType().as_pointer()), align=1)

    return types.float32(data, types.intp), codegen


@intrinsic
def multiply_high(typingctx, a, b):
    """The upper 64 bits of the 128-bit product of two uint64."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def count_ones(typingctx, value):
    """Number of set bits of a uint64."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def prefetch(typingctx, data, index):
    """Ask for the cache line of data[index]; never faults."""

    def codegen(context, builder, signature, args):
        pointer = builder.bitcast(_pointer(context, builder, signature.args[0], *args), _I8.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(data, types.intp), codegen


LANES = 16


@intrinsic
def hash_lanes(typingctx, heads, tails, lengths, hashes, index):
    """Carry FNV-1a in hashes[index:index + LANES] on over 16 more bytes of as many words, side by side.

    heads, tails: uint64, the first and second eight of these bytes; lengths: int32, how many there are (above 16
    counts as 16); hashes: uint32, FNV_OFFSET in the beginning. Each byte counts
    sign-extended. Written out as vectors because no optimiser found them.
    """

    def codegen(context, builder, signature, args):
        vector, wide = ir.VectorType(_I32, LANES), ir.VectorType(_I64, LANES)

        def splat(kind, value):
            return ir.Constant(kind, [value] * LANES)

        def place(i, kind):
            return builder.bitcast(_pointer(context, builder, signature.args[i], args[i], args[4]), kind.as_pointer())

        quads = []  # bytes 0..4, 4..8, 8..12 and 12..16
        for i in (0, 1):
            eight = builder.load(place(i, wide), align=8)
            quads.append(builder.trunc(eight, vector))
            quads.append(builder.trunc(builder.lshr(eight, splat(wide, 32)), vector))
        sizes = builder.load(place(2, vector), align=4)
        value = builder.load(place(3, vector), align=4)
        for k in range(16):
            left = builder.shl(quads[k // 4], splat(vector, 24 - 8 * (k % 4)))
            byte = builder.ashr(left, splat(vector, 24))
            longer = builder.mul(builder.xor(value, byte), splat(vector, 16777619))
            value = builder.select(builder.icmp_signed(">", sizes, splat(vector, k)), longer, value)
        builder.store(value, place(3, vector), align=4)
        return context.get_dummy_value()

    return types.void(heads, tails, lengths, hashes, types.intp), codegen
