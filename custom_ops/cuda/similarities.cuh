// First step: the dot products of every position's current embedding with its U taps of the memory embedding.
//
// A block owns a tile of 16 x 8 positions. A lane owns a column of 4 of them, a warp 8 of the cells that such a column
// reads: 12 shared-memory reads of 4 channels feed 128 multiply-adds. The next channels are on their way from memory,
// in registers, while the last ones are used.
#pragma once

#include "cells.h"
#include "job.cuh"

namespace lsts {

struct SimilarityShape {
  static constexpr int kTileX = 16, kTileY = 8, kRows = 4;
  static constexpr int kPositions = kTileX * kTileY;
  static constexpr int kCellsPerWarp = 8, kMaxCells = 128;
  static constexpr int kFetches = 6;  // values of 4 channels that a thread has under way
  static constexpr int kMaxThreads = 512;
  using Cells = CellTable<kMaxCells, kRows>;
};

// How the tiles and channels are shared out; see similarity_launch in lsts_cuda.cu.
struct SimilarityLayout {
  Window window;
  int32_t tiles_x, tiles_y;
  int32_t quads_per_part;   // groups of 4 channels
  int32_t quads_per_stage;  // of them, in shared memory at once
};

template <class T>
__global__ void __launch_bounds__(SimilarityShape::kMaxThreads)
    similarities_kernel(const Job job, const SimilarityLayout layout,
                        const __grid_constant__ SimilarityShape::Cells cells) {
  using S = SimilarityShape;
  extern __shared__ float4 staged[];  // per group of 4 channels: the window of the memory, then the tile of the current
  const Window window = layout.window;
  const int32_t window_cells = window.columns * window.rows;
  const int32_t stage_cells = window_cells + S::kPositions;

  int64_t block = blockIdx.x;
  const int32_t part = static_cast<int32_t>(block % job.parts);
  block /= job.parts;
  const int32_t tile_x = static_cast<int32_t>(block % layout.tiles_x) * S::kTileX;
  block /= layout.tiles_x;
  const int32_t tile_y = static_cast<int32_t>(block % layout.tiles_y) * S::kTileY;
  const int64_t image = block / layout.tiles_y;

  const int32_t quads = (job.e + 3) / 4;
  const int32_t first_quad = min(quads, part * layout.quads_per_part);
  const int32_t last_quad = min(quads, first_quad + layout.quads_per_part);

  // What this thread brings in, the same cells for every stage.
  const T* source[S::kFetches];
  int32_t place[S::kFetches], quad_of[S::kFetches];
#pragma unroll
  for (int j = 0; j < S::kFetches; ++j) {
    const int32_t item = static_cast<int32_t>(threadIdx.x) + j * static_cast<int32_t>(blockDim.x);
    const int32_t quad = item / stage_cells, cell = item % stage_cells;
    const bool is_memory = cell < window_cells;
    const int32_t inner = is_memory ? cell : cell - window_cells;
    const int32_t columns = is_memory ? window.columns : S::kTileX;
    const int32_t x = tile_x + (is_memory ? window.min_x : 0) + inner % columns;
    const int32_t y = tile_y + (is_memory ? window.min_y : 0) + inner / columns;
    place[j] = quad < layout.quads_per_stage ? item : -1;
    quad_of[j] = quad;
    source[j] = nullptr;
    if (place[j] >= 0 && is_inside(x, y, job.w, job.h))
      source[j] = static_cast<const T*>(is_memory ? job.memory_embedding : job.current_embedding) +
                  (image * job.e + (first_quad + quad) * int64_t{4}) * job.plane + int64_t{y} * job.w + x;
  }

  Quad<T> fetched[S::kFetches];
  const auto fetch = [&](int32_t stage_quad) {
#pragma unroll
    for (int j = 0; j < S::kFetches; ++j) {
      fetched[j] = {};
      if (source[j] == nullptr) continue;
      const int32_t quad = stage_quad + quad_of[j];
      if (quad < last_quad) fetched[j] = load4(source[j], job.plane, 4 * quad, job.e);
      source[j] += layout.quads_per_stage * int64_t{4} * job.plane;
    }
  };

  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t x = lane % S::kTileX, row = lane / S::kTileX * S::kRows;
  const int32_t first_cell = warp * S::kCellsPerWarp;
  const bool computes = first_cell < cells.count;
  const int32_t origin = row * window.columns + x;
  int32_t cell_place[S::kCellsPerWarp];
#pragma unroll
  for (int i = 0; i < S::kCellsPerWarp; ++i) cell_place[i] = computes ? origin + cells.place[first_cell + i] : 0;

  float sum[S::kCellsPerWarp][S::kRows] = {};
  if (first_quad < last_quad) fetch(first_quad);
  for (int32_t quad = first_quad; quad < last_quad; quad += layout.quads_per_stage) {
    __syncthreads();  // everyone is done with the last stage
#pragma unroll
    for (int j = 0; j < S::kFetches; ++j)
      if (place[j] >= 0) staged[place[j]] = to_float(fetched[j]);
    __syncthreads();
    if (quad + layout.quads_per_stage < last_quad) fetch(quad + layout.quads_per_stage);
    if (!computes) continue;
    for (int32_t q = 0; q < min(layout.quads_per_stage, last_quad - quad); ++q) {
      const float4* memory = staged + q * stage_cells;
      const float4* current = memory + window_cells + row * S::kTileX + x;
      float4 own[S::kRows];
#pragma unroll
      for (int r = 0; r < S::kRows; ++r) own[r] = current[r * S::kTileX];
#pragma unroll
      for (int i = 0; i < S::kCellsPerWarp; ++i) {
        const float4 other = memory[cell_place[i]];
#pragma unroll
        for (int r = 0; r < S::kRows; ++r) sum[i][r] = dot_add(own[r], other, sum[i][r]);
      }
    }
  }

  if (!computes || tile_x + x >= job.w) return;
  float* out = job.similarities + (int64_t{part} * job.n + image) * job.tap_count * job.plane;
#pragma unroll
  for (int i = 0; i < S::kCellsPerWarp; ++i)
#pragma unroll
    for (int r = 0; r < S::kRows; ++r) {
      const int32_t tap = cells.tap[first_cell + i][r], y = tile_y + row + r;
      if (tap >= 0 && y < job.h) out[tap * job.plane + int64_t{y} * job.w + tile_x + x] = sum[i][r];
    }
}

}  // namespace lsts
