// The small parts between products and attention.
#pragma once

#include <cmath>
#include <cstdint>

#include "pool.h"
#include "vectors.h"

namespace {

// out = x / rms(x) * weight for one row of D.
void norm_row(int64_t width, const float* x, const float* weight, float epsilon, float* out) {
  Floats squares = {};
  for (int64_t i = 0; i < width; i += LANES) {
    const Floats part = load_part(x + i, width - i);
    squares += part * part;
  }
  const float factor = 1 / std::sqrt(total(squares) / width + epsilon);
  for (int64_t i = 0; i < width; i += LANES)
    store_part(out + i, width - i, load_part(x + i, width - i) * factor * load_part(weight + i, width - i));
}

void norm_rows(int64_t rows, int64_t width, const float* x, const float* weight, float epsilon, float* out) {
  share(rows, 1, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; ++row) norm_row(width, x + row * width, weight, epsilon, out + row * width);
  });
}

// out[M, F] = silu(x[M, :F]) * x[M, F:]
void swiglu_rows(int64_t rows, int64_t width, const float* x, float* out) {
  share(rows, 1, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; ++row)
      for (int64_t i = 0; i < width; i += LANES) {
        const float* gate = x + row * 2 * width + i;
        const Floats value = load_part(gate, width - i);
        store_part(out + row * width + i, width - i,
                   value / (1.0f + exponential(-value)) * load_part(gate + width, width - i));
      }
  });
}

// x += y
void add_rows(int64_t count, float* x, const float* y) {
  for (int64_t i = 0; i < count; i += LANES)
    store_part(x + i, count - i, load_part(x + i, count - i) + load_part(y + i, count - i));
}

}  // namespace
