#!/usr/bin/env python3
"""Prints test/native/golden.h: expected values of random.h and half.h, computed with Python integers and `struct` only.

Usage: python3 test/native/golden.py > test/native/golden.h
"""
import struct

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def stream_key(seed, tensor, copy):
    return mix64(mix64((seed + GOLDEN) & MASK) ^ mix64(((tensor << 32) + copy + 1) & MASK))


def random_bits(key, i):
    return mix64((key + (i + 1) * GOLDEN) & MASK)


def f32(x):
    """x rounded to float32, as a Python float."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def f32_bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def random_value(key, index, scale):
    bits = random_bits(key, index >> 1) >> ((index & 1) * 32)
    total = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) - 65535
    # float32 products of float32 values are exact in float64, so one rounding at the end is the float32 rounding
    factor = f32(f32(scale) * f32(1.0 / f32(26754.93)))
    return f32(total * factor)


def to_fp16(x):
    """Bits of x (a float32 value) in binary16; `struct` rounds to nearest even and raises past the range."""
    try:
        return struct.unpack("<H", struct.pack("<e", x))[0]
    except OverflowError:
        return 0x7C00 if x > 0 else 0xFC00


def to_bf16(x):
    """Bits of x in bfloat16, by exact integer comparison with the two neighbours."""
    bits = f32_bits(x)
    low, rest = bits >> 16, bits & 0xFFFF
    up = rest > 0x8000 or (rest == 0x8000 and low & 1)
    return low + (1 if up else 0)


def rows(name, type_name, values):
    print(f"inline constexpr {type_name} {name}[] = {{")
    for value in values:
        print(f"    {value},")
    print("};")


def main():
    print("// Written by golden.py; do not edit.")
    print("#pragma once\n\n#include <cstdint>\n\nnamespace polar::golden {\n")
    print("struct Key {\n  uint64_t seed;\n  uint32_t tensor;\n  uint64_t copy;\n  uint64_t key;\n};")
    keys = [(0, 1, 0), (42, 2, 0), (42, 3, 7), (MASK, 12, 3), (1 << 40, 5, 1 << 33)]
    rows("kKeys", "Key", [f"{{{s}ull, {t}u, {c}ull, {hex(stream_key(s, t, c))}ull}}" for s, t, c in keys])
    print("struct Value {\n  uint64_t key;\n  uint64_t index;\n  float scale;\n  uint32_t bits;\n};")
    key = stream_key(42, 2, 0)
    cases = [(i, 1.0) for i in list(range(8)) + [1000003, (1 << 33) + 5]] + [(i, 0.015625) for i in (0, 1, 77)]
    cases += [(i, 0.0084627) for i in (3, 4, 5, 123456789)]
    rows("kValues", "Value",
         [f"{{{hex(key)}ull, {i}ull, {scale}f, {hex(f32_bits(random_value(key, i, scale)))}u}}" for i, scale in cases])
    print("struct Half {\n  uint32_t value;  // float32 bits\n  uint16_t fp16;\n  uint16_t bf16;\n};")
    bits = [0x00000000, 0x80000000, 0x3F800000, 0x3F808000, 0x3F818000, 0x3F801000, 0x3F803000, 0x3F801001, 0x477FE000,
            0x477FEFFF, 0x477FF000, 0x477FF001, 0x7F7FFFFF, 0x38800000, 0x387FFFFF, 0x387FE000, 0x33800000, 0x33000000,
            0x33000001, 0x33C00000, 0x00000001, 0x7F800000, 0xFF800000, 0xC0490FDB, 0x3EAAAAAB]
    x = 12345
    for _ in range(60):
        x = mix64(x + GOLDEN)
        candidate = x & 0xFFFFFFFF
        if (candidate & 0x7F800000) != 0x7F800000:
            bits.append(candidate)
        bits.append((candidate & 0x807FFFFF) | ((100 + (x >> 40) % 45) << 23))  # around binary16's range
    out = []
    for b in bits:
        value = struct.unpack("<f", struct.pack("<I", b))[0]
        out.append(f"{{{hex(b)}u, {hex(to_fp16(value))}, {hex(to_bf16(value))}}}")
    rows("kHalves", "Half", out)
    print("\n}  // namespace polar::golden")


main()
