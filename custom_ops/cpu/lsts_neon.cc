// LSTS on 64-bit ARM CPUs (NEON).
#include <arm_neon.h>

#include "cpu/lsts.h"

namespace lsts {
namespace {

struct Neon {
  using Wide = float32x4_t;
  struct F8 {
    float32x4_t low, high;
  };
  static constexpr int kLanes = 4;
  static Wide load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, Wide v) { vst1q_f32(p, v); }
  static Wide set(float v) { return vdupq_n_f32(v); }
  static Wide zero() { return vdupq_n_f32(0.0f); }
  static Wide fma(Wide a, Wide b, Wide c) { return vfmaq_f32(c, a, b); }

  static F8 load8(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static F8 load8(const Half* p) {
    const uint16x8_t bits = vld1q_u16(reinterpret_cast<const uint16_t*>(p));
    return {vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(bits))),
            vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(bits)))};
  }
  static void store8(float* p, F8 v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
  }
  static void store8(Half* p, F8 v) {
    vst1q_u16(reinterpret_cast<uint16_t*>(p),
              vcombine_u16(vreinterpret_u16_f16(vcvt_f16_f32(v.low)), vreinterpret_u16_f16(vcvt_f16_f32(v.high))));
  }
  static F8 set8(float v) { return {vdupq_n_f32(v), vdupq_n_f32(v)}; }
  static F8 add8(F8 a, F8 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
  static F8 sub8(F8 a, F8 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
  static F8 mul8(F8 a, F8 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
  static F8 fma8(F8 a, F8 b, F8 c) { return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
  static F8 max8(F8 a, F8 b) { return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)}; }
  static F8 round8(F8 v) { return {vrndnq_f32(v.low), vrndnq_f32(v.high)}; }

  static float32x4_t scale_or_zero(float32x4_t p, float32x4_t n, float32x4_t x, float limit) {
    const int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(limit));  // false for NaN
    const float32x4_t scaled = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(scaled), below));
  }
  static F8 scale_or_zero8(F8 p, F8 n, F8 x, float limit) {
    return {scale_or_zero(p.low, n.low, x.low, limit), scale_or_zero(p.high, n.high, x.high, limit)};
  }

  static void transpose4(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
    const float32x4_t ab0 = vtrn1q_f32(a, b), ab1 = vtrn2q_f32(a, b), cd0 = vtrn1q_f32(c, d), cd1 = vtrn2q_f32(c, d);
    a = pairs1(ab0, cd0), c = pairs2(ab0, cd0), b = pairs1(ab1, cd1), d = pairs2(ab1, cd1);
  }
  static float32x4_t pairs1(float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  }
  static float32x4_t pairs2(float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  }
  static void transpose8(F8* v) {
    transpose4(v[0].low, v[1].low, v[2].low, v[3].low);
    transpose4(v[0].high, v[1].high, v[2].high, v[3].high);
    transpose4(v[4].low, v[5].low, v[6].low, v[7].low);
    transpose4(v[4].high, v[5].high, v[6].high, v[7].high);
    for (int i = 0; i < 4; ++i) {
      const float32x4_t kept = v[i].high;
      v[i].high = v[i + 4].low;
      v[i + 4].low = kept;
    }
  }
  template <class T>
  static void load_turned8(const T* p, int64_t stride, F8* v) {
    for (int i = 0; i < 8; ++i) v[i] = load8(p + i * stride);
    transpose8(v);
  }
  static F8 reduce8(const Wide* v) {
    return {vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])),
            vpaddq_f32(vpaddq_f32(v[4], v[5]), vpaddq_f32(v[6], v[7]))};
  }
};

}  // namespace

extern const Kernel kKernelNeon = Tile<Neon>::kernel("neon");

}  // namespace lsts
