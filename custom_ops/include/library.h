// The library's two entries, and the table of C functions that the second one hands out.
//
// RegisterCustomOps is ONNX Runtime's. lsts_ops_describe returns a JSON text and, when asked, a table for callers
// without ONNX Runtime: OpenVINO's Python op, the benchmark's peaks, tests. Versioned: `version` changes when a field's
// meaning does, `size` grows when fields are added at the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "call.h"

extern "C" {

struct LstsTable {
  uint32_t size;     // bytes of this struct
  uint32_t version;  // 1

  // A plan and its threads. offsets: K (x, y) pairs; normalization and dtype as in core.h; kernel: a name of
  // kernel_name, or null for the fastest; threads >= 1, the caller included. Null and a message when refused.
  void* (*create)(const float* offsets, int64_t locations, int32_t normalization, const char* kernel, int32_t threads,
                  char* message, size_t message_size);
  void (*destroy)(void* runner);
  // 0, or 1 and a message. Shapes are the caller's duty: pointers carry no sizes.
  int32_t (*run)(void* runner, const lsts::Call* call, char* message, size_t message_size);
  int64_t (*scratch_bytes)(void* runner, const lsts::Call* call);
  int64_t (*tap_count)(void* runner);

  // Names of the kernels this CPU can run, the fastest first; null past the end.
  const char* (*kernel_name)(int32_t index);
  // Multiply-adds a second of one element each, on registers alone; 0 for an unknown kernel.
  double (*multiply_add_peak)(const char* kernel, int32_t threads, double seconds);
  // Bytes copied a second (each read once and written once), the best of several passes over `bytes`.
  double (*copy_peak)(int64_t bytes, int32_t threads, double seconds);
};

}  // extern "C"
