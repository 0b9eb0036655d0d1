// Eight floats in a 256-bit register: what the AVX2 and AVX-512 kernels share.
#pragma once

#include <immintrin.h>

#include "cpu/half.h"

namespace lsts {
namespace {

struct Avx2Eight {
  using F8 = __m256;
  static F8 load8(const float* p) { return _mm256_loadu_ps(p); }
  static F8 load8(const Half* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static void store8(float* p, F8 v) { _mm256_storeu_ps(p, v); }
  static void store8(Half* p, F8 v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static F8 set8(float v) { return _mm256_set1_ps(v); }
  static F8 add8(F8 a, F8 b) { return _mm256_add_ps(a, b); }
  static F8 sub8(F8 a, F8 b) { return _mm256_sub_ps(a, b); }
  static F8 mul8(F8 a, F8 b) { return _mm256_mul_ps(a, b); }
  static F8 fma8(F8 a, F8 b, F8 c) { return _mm256_fmadd_ps(a, b, c); }
  static F8 max8(F8 a, F8 b) { return _mm256_max_ps(a, b); }
  static F8 round8(F8 v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

  // p * 2^n, or 0 where x < limit. For a NaN x the comparison is false, and p is NaN.
  static F8 scale_or_zero8(F8 p, F8 n, F8 x, float limit) {
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    const F8 below = _mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_LT_OQ);
    return _mm256_andnot_ps(below, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
  }

  static void transpose8(F8* v) {
    const F8 a0 = _mm256_unpacklo_ps(v[0], v[1]), a1 = _mm256_unpackhi_ps(v[0], v[1]);
    const F8 a2 = _mm256_unpacklo_ps(v[2], v[3]), a3 = _mm256_unpackhi_ps(v[2], v[3]);
    const F8 a4 = _mm256_unpacklo_ps(v[4], v[5]), a5 = _mm256_unpackhi_ps(v[4], v[5]);
    const F8 a6 = _mm256_unpacklo_ps(v[6], v[7]), a7 = _mm256_unpackhi_ps(v[6], v[7]);
    const F8 b0 = _mm256_shuffle_ps(a0, a2, 0x44), b1 = _mm256_shuffle_ps(a0, a2, 0xee);
    const F8 b2 = _mm256_shuffle_ps(a1, a3, 0x44), b3 = _mm256_shuffle_ps(a1, a3, 0xee);
    const F8 b4 = _mm256_shuffle_ps(a4, a6, 0x44), b5 = _mm256_shuffle_ps(a4, a6, 0xee);
    const F8 b6 = _mm256_shuffle_ps(a5, a7, 0x44), b7 = _mm256_shuffle_ps(a5, a7, 0xee);
    v[0] = _mm256_permute2f128_ps(b0, b4, 0x20), v[4] = _mm256_permute2f128_ps(b0, b4, 0x31);
    v[1] = _mm256_permute2f128_ps(b1, b5, 0x20), v[5] = _mm256_permute2f128_ps(b1, b5, 0x31);
    v[2] = _mm256_permute2f128_ps(b2, b6, 0x20), v[6] = _mm256_permute2f128_ps(b2, b6, 0x31);
    v[3] = _mm256_permute2f128_ps(b3, b7, 0x20), v[7] = _mm256_permute2f128_ps(b3, b7, 0x31);
  }

  // The sum over the lanes of each of eight vectors.
  static F8 sums8(const F8* v) {
    const F8 low = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    const F8 high = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
  }
};

}  // namespace
}  // namespace lsts
