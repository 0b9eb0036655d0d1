// Stands in for CUDA's header, so that the kernels' own source runs on a machine without a GPU.
//
// Every thread of a block is a fiber; __syncthreads() hands over to the next one. The order in which fibers run is a
// setting: a result that depends on it is a missing barrier. Only what custom_ops/cuda uses is here. Speed means
// nothing.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float __ldg(const float* from) { return *from; }
inline int32_t min(int32_t a, int32_t b) { return a < b ? a : b; }
inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
using std::isnan;

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads();

enum cudaError_t { cudaSuccess = 0, cudaErrorInsufficientDriver = 35, cudaErrorNoKernelImageForDevice = 209 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1 };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };
using cudaStream_t = struct CUstream_st*;
constexpr int CUDART_VERSION = 13000;

const char* cudaGetErrorName(cudaError_t);
const char* cudaGetErrorString(cudaError_t);
cudaError_t cudaMalloc(void** out, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind);
cudaError_t cudaGetDevice(int* out);
cudaError_t cudaDeviceGetAttribute(int* out, cudaDeviceAttr, int device);
cudaError_t cudaDriverGetVersion(int* out);
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* out);

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* out, Kernel, int, size_t) {
  *out = 2;
  return cudaSuccess;
}

// Runs `thread` for every thread of every block.
cudaError_t run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

template <class... P>
cudaError_t cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t) {
  const auto call = [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    kernel(*static_cast<std::remove_const_t<P>*>(arguments[kIndex])...);
  };
  return run_grid(grid, block, shared_bytes, [&] { call(std::index_sequence_for<P...>{}); });
}
