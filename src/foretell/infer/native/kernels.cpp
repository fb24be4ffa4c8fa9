// Inference on a CPU: linear layers over packed weights, attention over a paged cache, and the small parts between.
//
// Letters: M rows, N outputs, K inputs, G inputs of a group with one scale, H query heads, J key/value heads, E head
// dimension. Every figure is summed over its inputs (or positions) in one order, whatever else is in the batch, so that
// a request gets the same bits alone and among others.

#include <cmath>
#include <mutex>
#include <vector>

#include "attention.h"
#include "linear.h"
#include "pool.h"
#include "vectors.h"

namespace {

std::mutex turn;  // the threads serve one caller at a time
typedef std::lock_guard<std::mutex> Turn;

}  // namespace

extern "C" {

int foretell_lanes() { return LANES; }

int foretell_block() { return BLOCK; }

void foretell_start(int threads) {
  const Turn mine(turn);
  delete pool;
  pool = new Pool(threads);
}

int64_t foretell_packed_bytes(int bits, int64_t outputs, int64_t inputs, int group) {
  const int64_t panels = (outputs + PANEL - 1) / PANEL, groups = inputs / group;
  const int64_t record = bits == 4   ? Packed<4>::group_bytes(group)
                         : bits == 8 ? Packed<8>::group_bytes(group)
                                     : Packed<32>::group_bytes(group);
  return panels * groups * record;
}

void foretell_pack(int bits, int64_t outputs, int inputs, int group, const void* values, const float* scale,
                   const float* minimum, void* out) {
  const Turn mine(turn);
  const auto pack = bits == 4 ? pack_of<4> : bits == 8 ? pack_of<8> : pack_of<32>;
  pack(outputs, inputs, group, static_cast<const uint8_t*>(values), scale, minimum, static_cast<uint8_t*>(out));
}

// y[M, N] = x[M, K] w' + bias
void foretell_linear(int bits, int64_t rows, int64_t outputs, int inputs, int group, const float* x, int64_t x_row,
                     const void* packed, const float* bias, float* y, int64_t y_row) {
  const Turn mine(turn);
  const int64_t panels = (outputs + PANEL - 1) / PANEL;
  const int64_t bytes = foretell_packed_bytes(bits, outputs, inputs, group) / panels;
  const Weights weights{static_cast<const uint8_t*>(packed), inputs, group, bytes};
  const Output out{y, y_row, bias, outputs};
  const auto linear = bits == 4 ? linear_of<4> : bits == 8 ? linear_of<8> : linear_of<32>;
  linear(x, x_row, rows, weights, out);
}

// out = x / rms(x) * weight, row by row of D; groups of rows may lie apart.
void foretell_rms_norm(int64_t rows, int64_t width, const float* x, int64_t x_row, const float* weight, float epsilon,
                       float* out) {
  const Turn mine(turn);
  share(rows, 1, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; ++row) {
      const float* line = x + row * x_row;
      Floats squares = {};
      for (int64_t i = 0; i < width; i += LANES) {
        const Floats part = load_part(line + i, width - i);
        squares += part * part;
      }
      const float factor = 1 / std::sqrt(total(squares) / width + epsilon);
      for (int64_t i = 0; i < width; i += LANES)
        store_part(out + row * width + i, width - i,
                   load_part(line + i, width - i) * factor * load_part(weight + i, width - i));
    }
  });
}

// out[M, F] = silu(x[M, :F]) * x[M, F:]
void foretell_swiglu(int64_t rows, int64_t width, const float* x, float* out) {
  const Turn mine(turn);
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

// Rotate, keep the keys and values of all rows, then attend; queries [M, H, E], keys and values [M, J, E] with rows
// that may lie apart, angles [M, E / 2], out [M, H, E].
void foretell_attend(const int32_t* segments, int count, const int32_t* tables, int64_t rows, const float* query,
                     int64_t query_row, const float* key, int64_t key_row, const float* value, int64_t value_row,
                     const float* cosine, const float* sine, int heads, int kv_heads, int width, float scale,
                     int window, float* keys, float* values, float* out) {
  const Turn mine(turn);
  static std::vector<float> rotated;
  const int padded = (width + LANES - 1) / LANES * LANES, half = width / 2;
  const Attention a{heads, kv_heads, width, padded, window, scale, keys, values};
  const Segment* parts = reinterpret_cast<const Segment*>(segments);
  rotated.resize(rows * heads * width);
  struct Tile {
    int part, head, from, to;
  };
  static std::vector<Tile> tiles;
  tiles.clear();
  static std::vector<int> part_of;
  part_of.assign(rows, 0);
  const int tokens = std::max(1, 12 / a.group());
  for (int part = 0; part < count; ++part) {
    for (int row = 0; row < parts[part].rows; ++row) part_of[parts[part].first_row + row] = part;
    // the last positions see the most keys, and come first so that no thread ends with them
    for (int to = parts[part].rows; to > 0; to -= tokens)
      for (int head = 0; head < kv_heads; ++head) tiles.push_back({part, head, std::max(0, to - tokens), to});
  }
  share(rows, 1, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; ++row) {
      const float *turn = cosine + row * half, *across = sine + row * half;
      for (int head = 0; head < heads; ++head)
        rotate(query + row * query_row + head * width, turn, across, width, scale, &rotated[(row * heads + head) * width],
               1);
      const Segment& s = parts[part_of[row]];
      const int position = s.position + int(row) - s.first_row;
      const int64_t block = tables[s.table + position / BLOCK];
      for (int head = 0; head < kv_heads; ++head) {
        rotate(key + row * key_row + head * width, turn, across, width, 1.0f,
               a.key_block(block, head) + position % BLOCK, BLOCK);
        std::memcpy(a.value_block(block, head) + position % BLOCK * padded, value + row * value_row + head * width,
                    width * 4);
      }
    }
  });
  share(tiles.size(), 1, [&](int64_t from, int64_t to) {
    for (int64_t at = from; at < to; ++at) {
      const Tile& t = tiles[at];
      attend_tile(a, parts[t.part], tables, t.head, t.from, t.to, rotated.data(), out);
    }
  });
}

}  // extern "C"
