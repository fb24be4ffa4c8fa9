// Inference on a CPU: linear layers over packed weights, attention over a paged cache, and the small parts between.
//
// Letters: M rows, N outputs, K inputs, G inputs of a group with one scale, H query heads, J key/value heads, E head
// dimension. Every figure is summed over its inputs (or positions) in one order, whatever else is in the batch, so that
// a request gets the same bits alone and among others.

#include <mutex>
#include <vector>

#include "attention.h"
#include "layers.h"
#include "linear.h"
#include "pool.h"

namespace {

std::mutex turn;  // the threads serve one caller at a time
typedef std::lock_guard<std::mutex> Turn;

// A block of a decoder, or of an image encoder, whose attention is full; norms of queries and keys may be null.
struct Block {
  Linear qkv, output, gate_up, down;
  const float *attention_norm, *feed_forward_norm, *query_norm, *key_norm;
  float epsilon, scale;
  int32_t heads, kv_heads, width, window, full;
};

Attention attention_of(int heads, int kv_heads, int width, float scale, int window, bool full, float* keys,
                       float* values) {
  return {heads, kv_heads, width, (width + LANES - 1) / LANES * LANES, window, full, scale, keys, values};
}

// x += attention(norm(x)); x += feed_forward(norm(x)), for rows of D.
void transform(const Block& b, const Batch& batch, int64_t rows, float* x, float* keys, float* values) {
  static std::vector<float> normed, wide, mixed;
  const int64_t width = b.qkv.inputs, queries = b.heads * b.width, shared = b.kv_heads * b.width;
  normed.resize(rows * width);
  wide.resize(rows * std::max(b.qkv.outputs, b.gate_up.outputs));
  mixed.resize(rows * std::max<int64_t>(queries, b.down.inputs));
  norm_rows(rows, width, x, b.attention_norm, b.epsilon, normed.data());
  linear_rows(b.qkv, rows, normed.data(), width, wide.data());
  if (b.query_norm)
    for (int64_t row = 0; row < rows; ++row)
      for (int head = 0; head < b.heads + b.kv_heads; ++head) {
        float* line = wide.data() + row * b.qkv.outputs + head * b.width;
        norm_row(b.width, line, head < b.heads ? b.query_norm : b.key_norm, b.epsilon, line);
      }
  const float* first = wide.data();
  const int64_t apart = b.qkv.outputs;
  attend_rows(attention_of(b.heads, b.kv_heads, b.width, b.scale, b.window, b.full, keys, values), batch, rows,
              {first, apart}, {first + queries, apart}, {first + queries + shared, apart}, mixed.data());
  linear_rows(b.output, rows, mixed.data(), queries, normed.data());
  add_rows(rows * width, x, normed.data());
  norm_rows(rows, width, x, b.feed_forward_norm, b.epsilon, normed.data());
  linear_rows(b.gate_up, rows, normed.data(), width, wide.data());
  swiglu_rows(rows, b.down.inputs, wide.data(), mixed.data());
  linear_rows(b.down, rows, mixed.data(), b.down.inputs, normed.data());
  add_rows(rows * width, x, normed.data());
}

}  // namespace

extern "C" {

int foretell_lanes() { return LANES; }

void foretell_start(int threads) {
  const Turn mine(turn);
  delete pool;
  pool = new Pool(threads);
}

int64_t foretell_packed_bytes(int bits, int64_t outputs, int64_t inputs, int group) {
  return packed_bytes(bits, outputs, inputs, group);
}

void foretell_pack(int bits, int64_t outputs, int inputs, int group, const void* values, const float* scale,
                   const float* minimum, void* out) {
  const Turn mine(turn);
  const auto pack = bits == 4 ? pack_of<4> : bits == 8 ? pack_of<8> : pack_of<32>;
  pack(outputs, inputs, group, static_cast<const uint8_t*>(values), scale, minimum, static_cast<uint8_t*>(out));
}

void foretell_linear(const Linear* layer, int64_t rows, const float* x, int64_t x_row, float* y) {
  const Turn mine(turn);
  linear_rows(*layer, rows, x, x_row, y);
}

void foretell_rms_norm(int64_t rows, int64_t width, const float* x, const float* weight, float epsilon, float* out) {
  const Turn mine(turn);
  norm_rows(rows, width, x, weight, epsilon, out);
}

void foretell_swiglu(int64_t rows, int64_t width, const float* x, float* out) {
  const Turn mine(turn);
  swiglu_rows(rows, width, x, out);
}

void foretell_attend(const Batch* batch, int64_t rows, const float* query, int64_t query_row, const float* key,
                     int64_t key_row, const float* value, int64_t value_row, int heads, int kv_heads, int width,
                     float scale, int window, float* keys, float* values, float* out) {
  const Turn mine(turn);
  attend_rows(attention_of(heads, kv_heads, width, scale, window, false, keys, values), *batch, rows, {query, query_row},
              {key, key_row}, {value, value_row}, out);
}

void foretell_transform(const Block* block, const Batch* batch, int64_t rows, float* x, float* keys, float* values) {
  const Turn mine(turn);
  transform(*block, *batch, rows, x, keys, values);
}

}  // extern "C"
