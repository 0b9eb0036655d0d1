// LSTS on x86-64 CPUs with AVX-512 (F, VL, BW, DQ).
#include <immintrin.h>

#include "cpu/avx2.h"
#include "cpu/lsts.h"

namespace lsts {
namespace {

struct Avx512 : Avx2Eight {
  using Wide = __m512;
  static constexpr int kLanes = 16;
  static Wide load(const float* p) { return _mm512_load_ps(p); }
  static void store(float* p, Wide v) { _mm512_storeu_ps(p, v); }
  static Wide set(float v) { return _mm512_set1_ps(v); }
  static Wide zero() { return _mm512_setzero_ps(); }
  static Wide fma(Wide a, Wide b, Wide c) { return _mm512_fmadd_ps(a, b, c); }
  static F8 reduce8(const Wide* v) {
    F8 half[8];
    for (int i = 0; i < 8; ++i) {
      const __m512 swapped = _mm512_maskz_shuffle_f32x4(0xff, v[i], v[i], 0xee);
      half[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_castps512_ps256(swapped));
    }
    return sums8(half);
  }
};

}  // namespace

extern const Kernel kKernelAvx512 = Tile<Avx512>::kernel("avx512");

}  // namespace lsts
