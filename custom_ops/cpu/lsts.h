// The LSTS tile on vectors of any width: `Simd` supplies the instructions, this file the order of work.
//
// Memory maps arrive as channel planes, where every tap would read an unaligned row. A tile's rows are therefore packed
// once as [column][channels], with zeros outside the map: a tap becomes a distance, every load is aligned, and no edge
// of the map needs a test. Only the rows that the taps of one output row reach are held, in a ring. Three steps a tile:
//   1. correlate: corr[position][tap] = <g(position), f(position + tap)>, in blocks of channels;
//   2. weigh:     s = B corr, S = softmax(s) or s / sum s, w = B^T S, eight positions at once;
//   3. gather:    F'(position) = sum over taps of w[position][tap] F(position + tap), in blocks of channels.
// The order of additions at a position depends on neither tile nor thread, so results do not either.
#pragma once

#include "cpu/half.h"
#include "cpu/kernel.h"

namespace lsts {

template <class Simd>
struct Tile {
  using Wide = typename Simd::Wide;
  using F8 = typename Simd::F8;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kVectors = 8;  // accumulators that hide the latency of a multiply-add
  static constexpr int64_t kBlock = int64_t{kLanes} * kVectors;
  static constexpr int kTapBlock = 8;
  static constexpr int64_t kEight = kPositionBlock;

  static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
  static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

  static void fill(float* out, int64_t count, float value) {
    for (int64_t i = 0; i < count; ++i) out[i] = value;
  }

  // Eight rows of eight become eight columns.
  template <class From, class To>
  static void turn8(const From* in, int64_t in_stride, To* out, int64_t out_stride) {
    F8 v[kEight];
    Simd::load_turned8(in, in_stride, v);
    for (int64_t i = 0; i < kEight; ++i) Simd::store8(out + i * out_stride, v[i]);
  }

  // Eight channels (fewer at the end: the rest become 0) of `columns` cells, from planes to [column][stride].
  template <class T>
  static void pack_row(const T* in, int64_t plane, int64_t channels, int64_t columns, float* out, int64_t stride) {
    if (channels == kEight && columns >= kEight) {
      for (int64_t x = 0; x + kEight < columns; x += kEight) turn8(in + x, plane, out + x * stride, stride);
      const int64_t x = columns - kEight;  // the last block overlaps instead of being short
      return turn8(in + x, plane, out + x * stride, stride);
    }
    for (int64_t x = 0; x < columns; ++x)
      for (int64_t c = 0; c < kEight; ++c) out[x * stride + c] = c < channels ? widen(in[c * plane + x]) : 0.0f;
  }

  // The reverse of pack_row.
  template <class T>
  static void unpack_row(const float* in, int64_t stride, int64_t channels, int64_t columns, T* out, int64_t plane) {
    if (channels == kEight && columns >= kEight) {
      for (int64_t x = 0; x + kEight < columns; x += kEight) turn8(in + x * stride, stride, out + x, plane);
      const int64_t x = columns - kEight;
      return turn8(in + x * stride, stride, out + x, plane);
    }
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t x = 0; x < columns; ++x) narrow(in[x * stride + c], out + c * plane + x);
  }

  // Where rows of a block lie once packed: row y at (y - origin) modulo `depth`, columns [first_column, end_column).
  struct Place {
    int64_t origin, depth, first_column, end_column, width;
    int64_t row_size() const { return (end_column - first_column) * width; }
    int64_t at(int64_t y) const { return (y - origin) % depth * row_size(); }
  };

  // Rows [first, end) of the map, `place.width` channels of a block at `planes`: those from `channels` on are 0, and so
  // is what lies outside the map. Rows inside channels: each plane is read in long pieces.
  template <class T>
  static void pack(const T* planes, int64_t channels, const Call& call, int64_t first, int64_t end, const Place& place,
                   float* out) {
    const int64_t left = larger(place.first_column, 0), right = smaller(place.end_column, call.w);
    const int64_t plane = call.h * call.w, width = place.width;
    for (int64_t y = first; y < end; ++y) {
      float* row = out + place.at(y);
      if (y < 0 || y >= call.h || left >= right) {
        fill(row, place.row_size(), 0.0f);
      } else {
        fill(row, (left - place.first_column) * width, 0.0f);
        fill(row + (right - place.first_column) * width, (place.end_column - right) * width, 0.0f);
      }
    }
    if (left >= right) return;
    for (int64_t c = 0; c < width; c += kEight)
      for (int64_t y = larger(first, 0); y < smaller(end, call.h); ++y)
        pack_row(planes + c * plane + y * call.w + left, plane, smaller(larger(channels - c, 0), kEight), right - left,
                 out + place.at(y) + (left - place.first_column) * width + c, width);
  }

  // The packed rows that one output row's taps of one group reach, and up to kRowsAtOnce - 1 more.
  template <class T>
  class Ring {
   public:
    Ring(const TileJob& job, const TapGroup& group, const T* planes, int64_t channels, int64_t width)
        : job_(job),
          group_(group),
          planes_(planes),
          channels_(channels),
          next_(job.first_row + group.min_y),
          place_{next_, group.max_y - group.min_y + kRowsAtOnce, job.first_column + group.min_x,
                 job.end_column + group.max_x, width} {}

    // Packs what row y needs and was not packed for the rows before, and writes each tap's distance for it.
    const float* advance(int64_t y, int64_t* distances) {
      if (group_.count == 0) return nullptr;
      float* packed = job_.scratch + job_.layout.packed;
      if (next_ <= y + group_.max_y) {
        const int64_t end = smaller(y + group_.max_y + kRowsAtOnce, job_.end_row + group_.max_y);
        pack(planes_, channels_, job_.call, next_, end, place_, packed);
        next_ = end;
      }
      for (int64_t u = 0; u < group_.count; ++u) {
        const Tap& tap = job_.plan.taps[group_.first + u];
        distances[u] = place_.at(y + tap.y) + (tap.x - group_.min_x) * place_.width;
      }
      return packed;
    }

   private:
    const TileJob& job_;
    const TapGroup& group_;
    const T* planes_;
    int64_t channels_, next_;
    Place place_;
  };

  static bool is_live(const TileJob& job, const TapGroup& group) {
    return job.end_row + group.max_y > 0 && job.first_row + group.min_y < job.call.h &&
           job.end_column + group.max_x > 0 && job.first_column + group.min_x < job.call.w;
  }

  // ---- 1: correlate ----

  template <int kCount>
  static F8 correlate_taps(const float* current, const float* const* memory, int64_t vectors) {
    Wide sum[kTapBlock];
    for (int j = 0; j < kTapBlock; ++j) sum[j] = Simd::zero();
    if (kCount) vectors = kCount;
    for (int64_t v = 0; v < vectors; ++v) {
      const Wide g = Simd::load(current + v * kLanes);
      for (int j = 0; j < kTapBlock; ++j) sum[j] = Simd::fma(Simd::load(memory[j] + v * kLanes), g, sum[j]);
    }
    return Simd::reduce8(sum);
  }

  static void correlate_position(const float* current, const float* memory, const int64_t* distances, int64_t taps,
                                 int64_t vectors, bool first, float* out) {
    for (int64_t u = 0; u < taps; u += kTapBlock) {
      const float* place[kTapBlock];
      for (int j = 0; j < kTapBlock; ++j) place[j] = memory + distances[smaller(u + j, taps - 1)];
      F8 sum = vectors == kVectors ? correlate_taps<kVectors>(current, place, vectors)
                                   : correlate_taps<0>(current, place, vectors);
      if (u + kTapBlock <= taps) {
        Simd::store8(out + u, first ? sum : Simd::add8(Simd::load8(out + u), sum));
      } else {
        float part[kTapBlock];
        Simd::store8(part, sum);
        for (int64_t j = 0; u + j < taps; ++j) out[u + j] = first ? part[j] : out[u + j] + part[j];
      }
    }
  }

  template <class T>
  static void correlate(const TileJob& job, int64_t* distances) {
    const Call& call = job.call;
    const TileLayout& layout = job.layout;
    const int64_t plane = call.h * call.w, columns = job.end_column - job.first_column;
    const T* f = static_cast<const T*>(call.memory_embedding) + job.item * call.e * plane;
    const T* g = static_cast<const T*>(call.current_embedding) + job.item * call.e * plane;
    float* corr = job.scratch + layout.weights;
    float* current = job.scratch + layout.row;
    for (int64_t block = 0; block < call.e; block += kBlock) {
      const int64_t channels = smaller(call.e - block, kBlock), width = round_up(channels, larger(kLanes, kEight));
      for (int64_t i = 0; i < job.plan.group_count; ++i) {
        const TapGroup& group = job.plan.groups[i];
        if (!is_live(job, group)) continue;
        Ring<T> ring(job, group, f + block * plane, channels, width);
        for (int64_t y = job.first_row; y < job.end_row; ++y) {
          const float* packed = ring.advance(y, distances);
          pack(g + block * plane, channels, call, y, y + 1, {y, 1, job.first_column, job.end_column, width}, current);
          float* out = corr + (y - job.first_row) * columns * layout.tap_stride + group.first;
          for (int64_t x = 0; x < columns; ++x) {
            correlate_position(current + x * width, packed + x * width, distances, group.count, width / kLanes,
                               block == 0, out + x * layout.tap_stride);
          }
        }
      }
    }
  }

  // ---- 2: weigh ----

  // e^x for x <= 0 within 2 units in the last place; NaN stays NaN, below the smallest normal result it is 0.
  static F8 exp8(F8 x) {
    const F8 n = Simd::round8(Simd::mul8(x, Simd::set8(1.44269504f)));
    F8 r = Simd::fma8(n, Simd::set8(-0.693359375f), x);  // ln 2 in two parts, the first exact in n's range
    r = Simd::fma8(n, Simd::set8(2.12194440e-4f), r);
    F8 p = Simd::set8(1.0f / 5040.0f);  // Taylor: the next term is below 1e-8 for |r| <= ln 2 / 2
    p = Simd::fma8(p, r, Simd::set8(1.0f / 720.0f));
    p = Simd::fma8(p, r, Simd::set8(1.0f / 120.0f));
    p = Simd::fma8(p, r, Simd::set8(1.0f / 24.0f));
    p = Simd::fma8(p, r, Simd::set8(1.0f / 6.0f));
    p = Simd::fma8(p, r, Simd::set8(0.5f));
    p = Simd::fma8(p, r, Simd::set8(1.0f));
    p = Simd::fma8(p, r, Simd::set8(1.0f));
    return Simd::scale_or_zero8(p, n, x, -87.0f);
  }

  // scores: (K, 8). Returns the peak weight; `nothing` is 0, or NaN where the weights are.
  static F8 normalize(float* scores, int64_t count, Normalization normalization, F8* nothing) {
    F8 total = Simd::set8(0.0f);
    if (normalization == Normalization::kSoftmax) {
      F8 most = Simd::load8(scores);
      for (int64_t k = 1; k < count; ++k) most = Simd::max8(most, Simd::load8(scores + k * kEight));
      for (int64_t k = 0; k < count; ++k) {
        const F8 e = exp8(Simd::sub8(Simd::load8(scores + k * kEight), most));
        Simd::store8(scores + k * kEight, e);
        total = Simd::add8(total, e);
      }
    } else {
      for (int64_t k = 0; k < count; ++k) total = Simd::add8(total, Simd::load8(scores + k * kEight));
    }
    float lanes[kEight];
    Simd::store8(lanes, total);
    for (int64_t j = 0; j < kEight; ++j) lanes[j] = inverse_total(lanes[j]);
    const F8 inverse = Simd::load8(lanes);
    for (int64_t j = 0; j < kEight; ++j) lanes[j] = lanes[j] == lanes[j] ? 0.0f : lanes[j];
    *nothing = Simd::load8(lanes);
    F8 peak = Simd::mul8(Simd::load8(scores), inverse);
    for (int64_t k = 0; k < count; ++k) {
      const F8 weight = Simd::mul8(Simd::load8(scores + k * kEight), inverse);
      Simd::store8(scores + k * kEight, weight);
      peak = Simd::max8(peak, weight);
    }
    return Simd::add8(peak, *nothing);  // NaN whatever max8 makes of it
  }

  // (8, stride) to (stride, 8) or back, `stride` a multiple of 8.
  static void transpose_out(const float* in, int64_t stride, float* out) {
    for (int64_t u = 0; u < stride; u += kEight) {
      F8 v[kEight];
      for (int64_t j = 0; j < kEight; ++j) v[j] = Simd::load8(in + j * stride + u);
      Simd::transpose8(v);
      for (int64_t j = 0; j < kEight; ++j) Simd::store8(out + (u + j) * kEight, v[j]);
    }
  }
  static void transpose_in(const float* in, int64_t stride, float* out) {
    for (int64_t u = 0; u < stride; u += kEight) {
      F8 v[kEight];
      for (int64_t j = 0; j < kEight; ++j) v[j] = Simd::load8(in + (u + j) * kEight);
      Simd::transpose8(v);
      for (int64_t j = 0; j < kEight; ++j) Simd::store8(out + j * stride + u, v[j]);
    }
  }

  static void weigh(const TileJob& job) {
    const PlanView& plan = job.plan;
    const TileLayout& layout = job.layout;
    const int64_t columns = job.end_column - job.first_column;
    const int64_t positions = (job.end_row - job.first_row) * columns;
    float* taps = job.scratch + layout.transposed;
    float* scores = job.scratch + layout.scores;
    float* base = job.scratch + layout.base;
    for (int64_t p = 0; p < positions; p += kEight) {
      float* rows = job.scratch + layout.weights + p * layout.tap_stride;
      transpose_out(rows, layout.tap_stride, taps);
      for (int64_t k = 0; k < plan.location_count; ++k) {
        const Blend& blend = plan.locations[k];
        F8 s = Simd::set8(0.0f);
        for (int32_t i = 0; i < blend.count; ++i)
          s = Simd::fma8(Simd::set8(blend.weight[i]), Simd::load8(taps + blend.tap[i] * kEight), s);
        Simd::store8(scores + k * kEight, s);
      }
      F8 nothing;
      const F8 peak = normalize(scores, plan.location_count, plan.normalization, &nothing);
      Simd::store8(base + p, nothing);
      fill(taps, layout.tap_stride * kEight, 0.0f);
      for (int64_t k = 0; k < plan.location_count; ++k) {
        const Blend& blend = plan.locations[k];
        const F8 weight = Simd::load8(scores + k * kEight);
        for (int32_t i = 0; i < blend.count; ++i) {
          float* tap = taps + blend.tap[i] * kEight;
          Simd::store8(tap, Simd::fma8(Simd::set8(blend.weight[i]), weight, Simd::load8(tap)));
        }
      }
      transpose_in(taps, layout.tap_stride, rows);
      if (job.call.peak_weight == nullptr) continue;
      float lanes[kEight];
      Simd::store8(lanes, peak);
      for (int64_t j = 0; j < smaller(kEight, positions - p); ++j) {
        const int64_t y = job.first_row + (p + j) / columns, x = job.first_column + (p + j) % columns;
        job.call.peak_weight[(job.item * job.call.h + y) * job.call.w + x] = lanes[j];
      }
    }
  }

  // ---- 3: gather ----

  template <int kWidth, int kPositions>
  static void gather_positions(const float* memory, const int64_t* distances, int64_t taps, const float* weights,
                               int64_t tap_stride, const float* base, bool first, float* out) {
    constexpr int64_t kStride = int64_t{kWidth} * kLanes;
    Wide sum[kPositions][kWidth];
    for (int i = 0; i < kPositions; ++i)
      for (int v = 0; v < kWidth; ++v)
        sum[i][v] = first ? Simd::set(base[i]) : Simd::load(out + i * kStride + v * kLanes);
    for (int64_t u = 0; u < taps; ++u) {
      const float* place = memory + distances[u];
      for (int i = 0; i < kPositions; ++i) {
        const Wide w = Simd::set(weights[i * tap_stride + u]);
        for (int v = 0; v < kWidth; ++v)
          sum[i][v] = Simd::fma(Simd::load(place + i * kStride + v * kLanes), w, sum[i][v]);
      }
    }
    for (int i = 0; i < kPositions; ++i)
      for (int v = 0; v < kWidth; ++v) Simd::store(out + i * kStride + v * kLanes, sum[i][v]);
  }

  template <class T, int kWidth>
  static void gather_block(const TileJob& job, int64_t channel, int64_t channels, int64_t* distances) {
    constexpr int64_t kStride = int64_t{kWidth} * kLanes;
    constexpr int kPositions = kVectors / kWidth;
    const Call& call = job.call;
    const TileLayout& layout = job.layout;
    const int64_t plane = call.h * call.w, columns = job.end_column - job.first_column;
    const int64_t offset = (job.item * call.c + channel) * plane;
    const T* memory = static_cast<const T*>(call.memory_feature) + offset;
    T* aligned = static_cast<T*>(call.aligned_feature) + offset;
    int64_t last = job.plan.group_count - 1;
    while (last >= 0 && !is_live(job, job.plan.groups[last])) --last;
    const int64_t held = job.plan.group_count > 1 ? job.end_row - job.first_row : kRowsAtOnce;  // rows of sums
    bool first = true;
    for (int64_t i = 0; i <= larger(last, 0); ++i) {
      const TapGroup none{0, 0, 0, 0, 0, -1};  // packs no row
      const TapGroup& group = last >= 0 ? job.plan.groups[i] : none;
      if (last >= 0 && !is_live(job, group)) continue;
      Ring<T> ring(job, group, memory, channels, kStride);
      for (int64_t y = job.first_row; y < job.end_row; ++y) {
        const float* packed = ring.advance(y, distances);
        const int64_t p = (y - job.first_row) * columns;
        float* row = job.scratch + layout.row + (y - job.first_row) % held * columns * kStride;
        const float* weights = job.scratch + layout.weights + p * layout.tap_stride + group.first;
        const float* base = job.scratch + layout.base + p;
        int64_t x = 0;
        for (; x + kPositions <= columns; x += kPositions) {
          gather_positions<kWidth, kPositions>(packed + x * kStride, distances, group.count,
                                               weights + x * layout.tap_stride, layout.tap_stride, base + x, first,
                                               row + x * kStride);
        }
        for (; x < columns; ++x)
          gather_positions<kWidth, 1>(packed + x * kStride, distances, group.count, weights + x * layout.tap_stride,
                                      layout.tap_stride, base + x, first, row + x * kStride);
        const int64_t done = (y - job.first_row) % held + 1;
        if (i < last || (done < held && y + 1 < job.end_row)) continue;
        for (int64_t c = 0; c < channels; c += kEight)
          for (int64_t r = 0; r < done; ++r)
            unpack_row(job.scratch + layout.row + r * columns * kStride + c, kStride, smaller(channels - c, kEight),
                       columns, aligned + c * plane + (y + 1 - done + r) * call.w + job.first_column, plane);
      }
      first = false;
    }
  }

  template <class T>
  static void gather(const TileJob& job, int64_t* distances) {
    const int64_t count = job.call.c;
    int64_t c = 0;
    for (; c + kBlock / 2 < count; c += kBlock)
      gather_block<T, kVectors>(job, c, smaller(count - c, kBlock), distances);
    for (; c < count; c += kBlock / 2) {
      const int64_t rest = count - c;
      if (rest > kBlock / 4 || kBlock / 4 < kEight)
        gather_block<T, kVectors / 2>(job, c, smaller(rest, kBlock / 2), distances);
      else if (rest > kBlock / 8 || kBlock / 8 < kEight)
        gather_block<T, kVectors / 4>(job, c, rest, distances);
      else
        gather_block<T, kVectors / 8>(job, c, rest, distances);
    }
  }

  template <class T>
  static void run_typed(const TileJob& job) {
    int64_t distances[kGroupSideCells * kGroupSideCells];
    const int64_t columns = job.end_column - job.first_column;
    const int64_t positions = (job.end_row - job.first_row) * columns;
    fill(job.scratch + job.layout.weights, round_up(positions, kEight) * job.layout.tap_stride, 0.0f);
    correlate<T>(job, distances);
    weigh(job);
    gather<T>(job, distances);
  }

  static void run(const TileJob& job) {
    if (job.call.dtype == DType::kFloat16)
      run_typed<Half>(job);
    else
      run_typed<float>(job);
  }

  static float spin(int64_t iterations) {
    constexpr int kChains = 12;
    Wide sum[kChains];
    for (int i = 0; i < kChains; ++i) sum[i] = Simd::set(1.0f + 0.01f * i);
    const Wide a = Simd::set(0.999999f), b = Simd::set(1e-6f);
    for (int64_t n = 0; n < iterations; ++n)
      for (int i = 0; i < kChains; ++i) sum[i] = Simd::fma(sum[i], a, b);
    float lanes[kLanes], out = 0.0f;
    for (int i = 0; i < kChains; ++i) {
      Simd::store(lanes, sum[i]);
      out += lanes[0];
    }
    return out;
  }

  static constexpr Kernel kernel(const char* name) { return {name, kBlock, run, spin, int64_t{12} * kLanes}; }
};

}  // namespace lsts
