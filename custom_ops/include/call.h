// One call of LSTS: tensors, sizes and the checks that every provider makes before it touches memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core.h"

namespace lsts {

struct Call {
  const void* memory_embedding;   // (n, e, h, w)
  const void* current_embedding;  // (n, e, h, w)
  const void* memory_feature;     // (n, c, h, w)
  void* aligned_feature;          // (n, c, h, w)
  float* peak_weight;             // (n, 1, h, w), or null
  int64_t n, e, c, h, w;
  DType dtype;  // of every tensor but peak_weight
};

struct Shape {
  const int64_t* dims;
  size_t rank;
};

// "(2, 9, 13, 11)", for messages.
std::string text_of(const Shape& shape);

// Fills the sizes of `call` from the shapes of the four inputs. Returns an empty string, or a text with what was got,
// what was expected and what to do.
std::string read_shapes(const Shape& memory_embedding, const Shape& current_embedding, const Shape& memory_feature,
                        const Shape& offsets, int64_t locations, Call* call);

}  // namespace lsts
