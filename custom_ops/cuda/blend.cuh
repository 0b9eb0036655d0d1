// Third step: every output position as the weighted sum of its U taps of the memory feature.
//
// A block owns a tile of 32 x 8 positions, a thread a column of 2 of them. Its weights stay in registers while the
// block goes through the channels, 4 at a time: one shared-memory read of a cell feeds 8 multiply-adds. Shared memory
// holds two windows, one in use and one being filled. The work, tile by tile and channel by channel, is cut into equal
// runs, one for every block that the device holds at once.
#pragma once

#include "cells.h"
#include "job.cuh"

namespace lsts {

struct BlendShape {
  static constexpr int kTileX = 32, kTileY = 8, kRows = 2;
  static constexpr int kThreads = kTileX * kTileY / kRows;
  static constexpr int kFetches = 6;  // values of 4 channels that a thread has under way
  static constexpr int kMaxWindowCells = kFetches * kThreads;
};

struct BlendLayout {
  Window window;
  int32_t tiles_x, tiles_y;
};

constexpr int blend_blocks_per_multiprocessor(int max_cells) { return max_cells <= 40 ? 3 : 2; }

template <class T, int kMaxCells>
__global__ void __launch_bounds__(BlendShape::kThreads, blend_blocks_per_multiprocessor(kMaxCells))
    blend_kernel(const Job job, const BlendLayout layout,
                 const __grid_constant__ CellTable<kMaxCells, BlendShape::kRows> cells) {
  using S = BlendShape;
  extern __shared__ float4 staged[];
  const Window window = layout.window;
  const int32_t window_cells = window.columns * window.rows;
  const int32_t quads = (job.c + 3) / 4;
  const int64_t steps = int64_t{job.n} * layout.tiles_y * layout.tiles_x * quads;
  int64_t step = steps * blockIdx.x / gridDim.x;
  const int64_t last_step = steps * (blockIdx.x + 1) / gridDim.x;

  const int32_t column = threadIdx.x % S::kTileX, row = threadIdx.x / S::kTileX * S::kRows;
  int32_t buffer = 0;

  while (step < last_step) {
    int64_t tile = step / quads;
    int32_t quad = static_cast<int32_t>(step % quads);
    const int32_t last_quad = static_cast<int32_t>(min(int64_t{quads}, quad + last_step - step));
    step += last_quad - quad;
    const int32_t tile_x = static_cast<int32_t>(tile % layout.tiles_x) * S::kTileX;
    tile /= layout.tiles_x;
    const int32_t tile_y = static_cast<int32_t>(tile % layout.tiles_y) * S::kTileY;
    const int64_t image = tile / layout.tiles_y;
    const T* memory = static_cast<const T*>(job.memory_feature) + image * job.c * job.plane;

    // What this thread brings in for every group of 4 channels; -1 outside the map.
    int32_t source[S::kFetches];
#pragma unroll
    for (int j = 0; j < S::kFetches; ++j) {
      const int32_t cell = static_cast<int32_t>(threadIdx.x) + j * S::kThreads;
      const int32_t cell_x = tile_x + window.min_x + cell % window.columns;
      const int32_t cell_y = tile_y + window.min_y + cell / window.columns;
      const bool is_read = cell < window_cells && is_inside(cell_x, cell_y, job.w, job.h);
      source[j] = is_read ? cell_y * job.w + cell_x : -1;
    }
    Quad<T> fetched[S::kFetches];
    const auto fetch = [&](int32_t next) {
#pragma unroll
      for (int j = 0; j < S::kFetches; ++j)
        fetched[j] =
            load4(memory + next * int64_t{4} * job.plane + source[j], job.plane, 4 * next, source[j] < 0 ? 0 : job.c);
    };
    fetch(quad);

    const int32_t x = tile_x + column, y = tile_y + row;
    const int64_t position = int64_t{y} * job.w + x;
    const bool writes[S::kRows] = {x < job.w && y < job.h, x < job.w && y + 1 < job.h};
    float weight[kMaxCells][S::kRows];
    const float* weights = job.weights + image * job.tap_count * job.plane + position;
#pragma unroll
    for (int v = 0; v < kMaxCells; ++v)
#pragma unroll
      for (int r = 0; r < S::kRows; ++r) {
        const int32_t tap = cells.tap[v][r];
        weight[v][r] = tap >= 0 && writes[r] ? weights[tap * job.plane + r * job.w] : 0.0f;
      }

    for (; quad < last_quad; ++quad) {
      float4* stage = staged + buffer * window_cells;
#pragma unroll
      for (int j = 0; j < S::kFetches; ++j)
        if (static_cast<int32_t>(threadIdx.x) + j * S::kThreads < window_cells)
          stage[threadIdx.x + j * S::kThreads] = to_float(fetched[j]);
      __syncthreads();  // this window is full, and no one reads the other one any more
      if (quad + 1 < last_quad) fetch(quad + 1);

      const float4* own = stage + row * window.columns + column;
      float4 sum[S::kRows] = {};
#pragma unroll
      for (int v = 0; v < kMaxCells; ++v) {
        const float4 value = own[cells.place[v]];
#pragma unroll
        for (int r = 0; r < S::kRows; ++r) scale_add(weight[v][r], value, &sum[r]);
      }
      T* out = static_cast<T*>(job.aligned_feature) + (image * job.c + quad * int64_t{4}) * job.plane + position;
#pragma unroll
      for (int r = 0; r < S::kRows; ++r) {
        if (!writes[r]) continue;
        T* to = out + r * job.w;
        store(to, sum[r].x);
        if (4 * quad + 1 < job.c) store(to + job.plane, sum[r].y);
        if (4 * quad + 2 < job.c) store(to + 2 * job.plane, sum[r].z);
        if (4 * quad + 3 < job.c) store(to + 3 * job.plane, sum[r].w);
      }
      buffer ^= 1;
    }
  }
}

}  // namespace lsts
