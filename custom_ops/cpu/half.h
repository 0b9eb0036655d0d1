// Half precision in storage: the 16 bits and their conversions, for CPUs and array ends without instructions for them.
#pragma once

#include <cstdint>

namespace lsts {

struct Half {
  uint16_t bits;
};

static inline float float_from_bits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float widen(float value) { return value; }

static inline float widen(Half half) {
  const uint32_t sign = static_cast<uint32_t>(half.bits & 0x8000u) << 16;
  const uint32_t exponent = (half.bits >> 10) & 0x1fu;
  const uint32_t mantissa = half.bits & 0x3ffu;
  if (exponent == 0x1fu) return float_from_bits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return float_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact
  return sign ? -magnitude : magnitude;
}

static inline void narrow(float value, float* out) { *out = value; }

// Round to nearest, ties to even, as the hardware does.
static inline void narrow(float value, Half* out) {
  const uint32_t bits = bits_from_float(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x1ffu);  // NaN, quiet
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;  // 65520 and above: infinity
  } else if (magnitude >= 0x38800000u) {
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  } else {  // below the smallest normal: adding 0.5 rounds the subnormal into the low bits
    half = bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
  }
  out->bits = static_cast<uint16_t>(sign | half);
}

}  // namespace lsts
