#include "call.h"

namespace lsts {

std::string text_of(const Shape& shape) {
  std::string out = "(";
  for (size_t i = 0; i < shape.rank; ++i) out += (i ? ", " : "") + std::to_string(shape.dims[i]);
  return out + ")";
}

std::string read_shapes(const Shape& memory_embedding, const Shape& current_embedding, const Shape& memory_feature,
                        const Shape& offsets, int64_t locations, Call* call) {
  const Shape& f = memory_embedding;
  const Shape& g = current_embedding;
  const Shape& m = memory_feature;
  bool fits = f.rank == 4 && g.rank == 4 && m.rank == 4 && offsets.rank == 2;
  if (fits) {
    for (int axis = 0; axis < 4; ++axis) fits = fits && f.dims[axis] == g.dims[axis] && f.dims[axis] >= 0;
    fits = fits && m.dims[0] == f.dims[0] && m.dims[1] >= 0 && m.dims[2] == f.dims[2] && m.dims[3] == f.dims[3] &&
           offsets.dims[0] == locations && offsets.dims[1] == 2;
  }
  if (!fits)
    return "LSTS: inputs do not fit each other: got memory_embedding " + text_of(f) + ", current_embedding " +
           text_of(g) + ", memory_feature " + text_of(m) + ", offsets " + text_of(offsets) +
           ", expected (N, E, H, W), (N, E, H, W), (N, C, H, W), (" + std::to_string(locations) +
           ", 2). Give embeddings and feature of one map.";
  if (f.dims[2] > kMaxSideCells || f.dims[3] > kMaxSideCells)
    return "LSTS: map is too large: got " + text_of(m) + ", expected sides up to " + std::to_string(kMaxSideCells) +
           ". Split the map.";
  call->n = f.dims[0], call->e = f.dims[1], call->h = f.dims[2], call->w = f.dims[3], call->c = m.dims[1];
  return "";
}

}  // namespace lsts
