// Linear layers over weights of 4, 8 or 32 bits that lie in panels.
#pragma once

#include <vector>

#include "pool.h"
#include "vectors.h"

namespace {

constexpr int PANEL = 2 * LANES;   // outputs that lie side by side in packed weights
constexpr int AHEAD = 8192;        // bytes fetched before they are needed, as a processor does within a page only
constexpr int FEW = 4;             // rows up to which weights are unpacked in registers, not in memory
constexpr int ROWS_IN_CACHE = 96;  // rows of activations between which a panel is unpacked again

// Packed weights of PANEL outputs: for each group scales, for 4 bits minima, and G times PANEL values.
template <int BITS>
struct Packed {
  static constexpr int VALUES = BITS == 4 ? PANEL / 2 : BITS == 8 ? PANEL : PANEL * 4;  // bytes of one input
  static constexpr int HEADER = BITS == 4 ? 8 * PANEL : BITS == 8 ? 4 * PANEL : 0;

  static int64_t group_bytes(int64_t group) { return HEADER + group * VALUES; }

  // The two vectors of one input's weights.
  static inline void unpack(const uint8_t* values, const Floats* scale, const Floats* minimum, Floats (&weight)[2]) {
    if constexpr (BITS == 4) {
      const Integers both = widened(load<Bytes>(values));
      weight[0] = __builtin_convertvector(both & 15, Floats) * scale[0] + minimum[0];
      weight[1] = __builtin_convertvector(both >> 4, Floats) * scale[1] + minimum[1];
    } else if constexpr (BITS == 8) {
      for (int v = 0; v < 2; ++v)
        weight[v] =
            __builtin_convertvector(widened(load<SignedBytes>(values + v * LANES)), Floats) * scale[v];
    } else {
      for (int v = 0; v < 2; ++v) weight[v] = load<Floats>(values + v * LANES * 4);
    }
  }

  static inline void header(const uint8_t* record, Floats (&scale)[2], Floats (&minimum)[2]) {
    for (int v = 0; v < 2; ++v) {
      if constexpr (BITS != 32) scale[v] = load<Floats>(record + v * LANES * 4);
      if constexpr (BITS == 4) minimum[v] = load<Floats>(record + (2 + v) * LANES * 4);
    }
  }

  // R rows times P panels, weights unpacked in registers.
  template <int R, int P>
  static void rows(const float* x, int64_t x_row, const uint8_t* packed, int64_t panel_bytes, int inputs, int group,
                   Floats (&sums)[R][2 * P]) {
    const int64_t record = group_bytes(group);
    for (int start = 0; start < inputs; start += group, packed += record, x += group) {
      Floats scale[P][2] = {}, minimum[P][2] = {};
      for (int p = 0; p < P; ++p) {
        const uint8_t* here = packed + p * panel_bytes;
        header(here, scale[p], minimum[p]);
        for (int64_t line = 0; line < record; line += 64) __builtin_prefetch(here + AHEAD + line);
      }
      for (int i = 0; i < group; ++i) {
        for (int p = 0; p < P; ++p) {
          Floats weight[2];
          unpack(packed + p * panel_bytes + HEADER + i * VALUES, scale[p], minimum[p], weight);
          for (int r = 0; r < R; ++r)
            for (int v = 0; v < 2; ++v) sums[r][2 * p + v] += x[r * x_row + i] * weight[v];
        }
      }
    }
  }

  static void unpack_panel(const uint8_t* packed, int inputs, int group, float* out) {
    for (int start = 0; start < inputs; start += group, packed += group_bytes(group)) {
      Floats scale[2] = {}, minimum[2] = {}, weight[2];
      header(packed, scale, minimum);
      for (int i = 0; i < group; ++i, out += PANEL) {
        unpack(packed + HEADER + i * VALUES, scale, minimum, weight);
        store(out, weight[0]);
        store(out + LANES, weight[1]);
      }
    }
  }
};

struct Output {
  float* y;
  int64_t row;
  const float* bias;
  int64_t outputs;
};

template <int R, int V>
inline void write(const Output& out, int64_t first_row, int64_t first, const Floats (&sums)[R][V]) {
  for (int r = 0; r < R; ++r) {
    float line[V * LANES];
    for (int v = 0; v < V; ++v) store(line + v * LANES, sums[r][v]);
    const int64_t count = std::min<int64_t>(V * LANES, out.outputs - first);
    float* to = out.y + (first_row + r) * out.row + first;
    for (int64_t n = 0; n < count; ++n) to[n] = out.bias ? line[n] + out.bias[first + n] : line[n];
  }
}

struct Weights {
  const uint8_t* packed;
  int inputs, group;
  int64_t panel_bytes;
};

template <int BITS, int R, int P>
void few_rows(const float* x, int64_t x_row, const Weights& w, int64_t row, int64_t panel, const Output& out) {
  Floats sums[R][2 * P] = {};
  Packed<BITS>::template rows<R, P>(x + row * x_row, x_row, w.packed + panel * w.panel_bytes, w.panel_bytes, w.inputs,
                                    w.group, sums);
  write(out, row, panel * PANEL, sums);
}

template <int BITS>
void few(const float* x, int64_t x_row, int64_t rows, const Weights& w, int64_t from, int64_t to, const Output& out) {
  int64_t panel = from;
  if (rows == 1)  // two panels at once: four sums that do not wait for each other
    for (; panel + 1 < to; panel += 2) few_rows<BITS, 1, 2>(x, x_row, w, 0, panel, out);
  for (; panel < to; ++panel) {
    switch (rows) {
      case 1: few_rows<BITS, 1, 1>(x, x_row, w, 0, panel, out); break;
      case 2: few_rows<BITS, 2, 1>(x, x_row, w, 0, panel, out); break;
      case 3: few_rows<BITS, 3, 1>(x, x_row, w, 0, panel, out); break;
      default: few_rows<BITS, 4, 1>(x, x_row, w, 0, panel, out);
    }
  }
}

template <int R>
void tile(const float* x, int64_t x_row, const float* panel, int inputs, int64_t row, int64_t first, const Output& out) {
  Floats sums[R][2] = {};
  multiply<R, 2>(sums, x + row * x_row, x_row, panel, PANEL, inputs);
  write(out, row, first, sums);
}

// The rest of the rows after whole tiles.
template <int R>
void rest(int rows, const float* x, int64_t x_row, const float* panel, int inputs, int64_t row, int64_t first,
          const Output& out) {
  if constexpr (R > 0) {
    if (rows == R) return tile<R>(x, x_row, panel, inputs, row, first, out);
    rest<R - 1>(rows, x, x_row, panel, inputs, row, first, out);
  }
}

template <int BITS>
void many(const float* x, int64_t x_row, int64_t rows, const Weights& w, int64_t from, int64_t to, const Output& out) {
  static thread_local std::vector<float> unpacked;
  if (BITS != 32) unpacked.resize(int64_t(w.inputs) * PANEL);
  for (int64_t start = 0; start < rows; start += ROWS_IN_CACHE) {
    const int64_t end = std::min(rows, start + ROWS_IN_CACHE);
    for (int64_t panel = from; panel < to; ++panel) {
      const uint8_t* packed = w.packed + panel * w.panel_bytes;
      const float* weights = reinterpret_cast<const float*>(packed);
      if (BITS != 32) {
        Packed<BITS>::unpack_panel(packed, w.inputs, w.group, unpacked.data());
        weights = unpacked.data();
      }
      int64_t row = start;
      for (; row + TILE <= end; row += TILE) tile<TILE>(x, x_row, weights, w.inputs, row, panel * PANEL, out);
      rest<TILE - 1>(int(end - row), x, x_row, weights, w.inputs, row, panel * PANEL, out);
    }
  }
}

template <int BITS>
void linear_of(const float* x, int64_t x_row, int64_t rows, const Weights& w, const Output& out) {
  const int64_t panels = (out.outputs + PANEL - 1) / PANEL;
  share(panels, 2, [&](int64_t from, int64_t to) {
    rows <= FEW ? few<BITS>(x, x_row, rows, w, from, to, out) : many<BITS>(x, x_row, rows, w, from, to, out);
  });
}

template <int BITS>
void pack_of(int64_t outputs, int inputs, int group, const uint8_t* values, const float* scale, const float* minimum,
             uint8_t* out) {
  const int groups = inputs / group;
  const int64_t record = Packed<BITS>::group_bytes(group);
  share((outputs + PANEL - 1) / PANEL, 1, [&](int64_t from, int64_t to) {
    for (int64_t panel = from; panel < to; ++panel)
      for (int g = 0; g < groups; ++g) {
        uint8_t* here = out + (panel * groups + g) * record;
        std::memset(here, 0, record);
        for (int column = 0; column < PANEL && panel * PANEL + column < outputs; ++column) {
          const int64_t n = panel * PANEL + column;
          float* header = reinterpret_cast<float*>(here);
          if (BITS != 32) header[column] = scale[n * groups + g];
          if (BITS == 4 && minimum) header[PANEL + column] = minimum[n * groups + g];
          for (int i = 0; i < group; ++i) {
            const int64_t k = int64_t(g) * group + i;
            uint8_t* to_value = here + Packed<BITS>::HEADER + i * Packed<BITS>::VALUES;
            if (BITS == 4) {
              const uint8_t nibble = (values[(n * inputs + k) / 2] >> (4 * (k & 1))) & 15;
              to_value[column % LANES] |= nibble << (column < LANES ? 0 : 4);
            } else if (BITS == 8) {
              to_value[column] = values[n * inputs + k];
            } else {
              std::memcpy(to_value + 4 * column, values + 4 * (n * inputs + k), 4);
            }
          }
        }
      }
  });
}

int64_t packed_bytes(int bits, int64_t outputs, int64_t inputs, int group) {
  const int64_t panels = (outputs + PANEL - 1) / PANEL, groups = inputs / group;
  const int64_t record = bits == 4   ? Packed<4>::group_bytes(group)
                         : bits == 8 ? Packed<8>::group_bytes(group)
                                     : Packed<32>::group_bytes(group);
  return panels * groups * record;
}

// A layer as the caller describes it.
struct Linear {
  int32_t bits, group, inputs, outputs;
  const void* packed;
  const float* bias;
};

// y[M, N] = x[M, K] w' + bias
void linear_rows(const Linear& l, int64_t rows, const float* x, int64_t x_row, float* y) {
  const int64_t panels = (l.outputs + PANEL - 1) / PANEL;
  const Weights weights{static_cast<const uint8_t*>(l.packed), l.inputs, l.group,
                        packed_bytes(l.bits, l.outputs, l.inputs, l.group) / panels};
  const Output out{y, l.outputs, l.bias, l.outputs};
  const auto linear = l.bits == 4 ? linear_of<4> : l.bits == 8 ? linear_of<8> : linear_of<32>;
  linear(x, x_row, rows, weights, out);
}

}  // namespace
