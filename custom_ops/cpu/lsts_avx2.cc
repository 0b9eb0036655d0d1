// LSTS on x86-64 CPUs with AVX2, FMA and F16C.
#include <immintrin.h>

#include "cpu/avx2.h"
#include "cpu/lsts.h"

namespace lsts {
namespace {

struct Avx2 : Avx2Eight {
  using Wide = __m256;
  static constexpr int kLanes = 8;
  static Wide load(const float* p) { return _mm256_load_ps(p); }
  static void store(float* p, Wide v) { _mm256_storeu_ps(p, v); }
  static Wide set(float v) { return _mm256_set1_ps(v); }
  static Wide zero() { return _mm256_setzero_ps(); }
  static Wide fma(Wide a, Wide b, Wide c) { return _mm256_fmadd_ps(a, b, c); }
  static F8 reduce8(const Wide* v) { return sums8(v); }
};

}  // namespace

extern const Kernel kKernelAvx2 = Tile<Avx2>::kernel("avx2");

}  // namespace lsts
