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

  // From rows whose halves are already paired, row i with row i + 4. Blends run beside shuffles, so they replace half of
  // those that a transposition takes.
  static void transpose_paired8(const F8* a, const F8* b, F8* v) {
    for (int half = 0; half < 2; ++half) {
      const F8* in = half ? b : a;
      const F8 low01 = _mm256_unpacklo_ps(in[0], in[1]), high01 = _mm256_unpackhi_ps(in[0], in[1]);
      const F8 low23 = _mm256_unpacklo_ps(in[2], in[3]), high23 = _mm256_unpackhi_ps(in[2], in[3]);
      const F8 low = _mm256_shuffle_ps(low01, low23, 0x4e), high = _mm256_shuffle_ps(high01, high23, 0x4e);
      v[4 * half + 0] = _mm256_blend_ps(low01, low, 0xcc), v[4 * half + 1] = _mm256_blend_ps(low23, low, 0x33);
      v[4 * half + 2] = _mm256_blend_ps(high01, high, 0xcc), v[4 * half + 3] = _mm256_blend_ps(high23, high, 0x33);
    }
  }

  static void transpose8(F8* v) {
    F8 a[4], b[4];
    for (int i = 0; i < 4; ++i) {
      a[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
      b[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    transpose_paired8(a, b, v);
  }

  static void load_turned8(const float* p, int64_t stride, F8* v) {
    F8 a[4], b[4];
    for (int i = 0; i < 4; ++i) {
      const float* far = p + 4 * stride;
      a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(far), 1);
      b[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + 4)), _mm_loadu_ps(far + 4), 1);
      p += stride;
    }
    transpose_paired8(a, b, v);
  }
  static void load_turned8(const Half* p, int64_t stride, F8* v) {
    for (int i = 0; i < 8; ++i) v[i] = load8(p + i * stride);
    transpose8(v);
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
