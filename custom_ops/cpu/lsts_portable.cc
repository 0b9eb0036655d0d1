// LSTS in plain C++, for any CPU: loops over eight floats that a compiler may vectorise.
#include <cmath>

#include "cpu/lsts.h"

namespace lsts {
namespace {

struct Eight {
  float lane[8];
};

template <class Function>
Eight each(Function function) {
  Eight out;
  for (int i = 0; i < 8; ++i) out.lane[i] = function(i);
  return out;
}

struct Portable {
  using Wide = Eight;
  using F8 = Eight;
  static constexpr int kLanes = 8;
  static Wide load(const float* p) { return load8(p); }
  static void store(float* p, Wide v) { store8(p, v); }
  static Wide set(float v) { return set8(v); }
  static Wide zero() { return set8(0.0f); }
  static Wide fma(const Wide& a, const Wide& b, const Wide& c) { return fma8(a, b, c); }

  template <class T>
  static F8 load8(const T* p) {
    return each([p](int i) { return widen(p[i]); });
  }
  template <class T>
  static void store8(T* p, const F8& v) {
    for (int i = 0; i < 8; ++i) narrow(v.lane[i], p + i);
  }
  static F8 set8(float v) {
    return each([v](int) { return v; });
  }
  static F8 add8(const F8& a, const F8& b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static F8 sub8(const F8& a, const F8& b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static F8 mul8(const F8& a, const F8& b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static F8 fma8(const F8& a, const F8& b, const F8& c) {
    return each([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static F8 max8(const F8& a, const F8& b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  // Adding 1.5 * 2^23 leaves no room for a fraction; only used where |v| is far below 2^22, or the result is unused.
  static F8 round8(const F8& v) {
    return each([&](int i) { return (v.lane[i] + 12582912.0f) - 12582912.0f; });
  }
  static F8 scale_or_zero8(const F8& p, const F8& n, const F8& x, float limit) {
    return each([&](int i) {
      if (x.lane[i] < limit) return 0.0f;
      if (!(n.lane[i] <= 0.0f)) return p.lane[i];  // NaN: p is NaN too
      return p.lane[i] * float_from_bits(static_cast<uint32_t>(static_cast<int32_t>(n.lane[i]) + 127) << 23);
    });
  }
  static void transpose8(F8* v) {
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < i; ++j) {
        const float kept = v[i].lane[j];
        v[i].lane[j] = v[j].lane[i];
        v[j].lane[i] = kept;
      }
  }
  template <class T>
  static void load_turned8(const T* p, int64_t stride, F8* v) {
    for (int i = 0; i < 8; ++i) v[i] = load8(p + i * stride);
    transpose8(v);
  }
  static F8 reduce8(const Wide* v) {
    return each([v](int i) {
      float sum = 0.0f;
      for (int j = 0; j < 8; ++j) sum += v[i].lane[j];
      return sum;
    });
  }
};

}  // namespace

extern const Kernel kKernelPortable = Tile<Portable>::kernel("portable");

}  // namespace lsts
