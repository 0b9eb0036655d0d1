// Stands in for CUDA's header when the kernels are compiled for the host; see cuda_runtime.h beside this file.
#pragma once

struct __half {
  _Float16 value;
};

inline __half __ldg(const __half* from) { return *from; }
inline float __half2float(__half from) { return static_cast<float>(from.value); }
inline __half __float2half_rn(float from) { return {static_cast<_Float16>(from)}; }
