// Attention over a cache of blocks.
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include "pool.h"
#include "vectors.h"

namespace {

constexpr int BLOCK = FORETELL_BLOCK;  // positions of a block of the cache, as blocks.py says when this is built
static_assert(BLOCK % LANES == 0, "scores of a block are whole vectors");

// Pairs (i, i + E / 2) turned by their position's angle.
inline void rotate(const float* __restrict from, const float* __restrict cosine, const float* __restrict sine, int width,
                   float factor, float* __restrict to) {
  const int half = width / 2;
  for (int i = 0; i < half; ++i) {
    to[i] = factor * (from[i] * cosine[i] - from[i + half] * sine[i]);
    to[i + half] = factor * (from[i + half] * cosine[i] + from[i] * sine[i]);
  }
}

struct Attention {
  int heads, kv_heads, width, padded, window;  // padded: E rounded up to whole vectors
  bool full;  // every row sees its whole sequence, not only what comes before it
  float scale;
  float *keys, *values;  // [blocks, J, E, BLOCK] and [blocks, J, BLOCK, padded]

  int group() const { return heads / kv_heads; }
  float* key_block(int64_t block, int head) const {
    return keys + (block * kv_heads + head) * int64_t(width) * BLOCK;
  }
  float* value_block(int64_t block, int head) const {
    return values + (block * kv_heads + head) * int64_t(padded) * BLOCK;
  }
};

// Rows of one sequence: the first row in the batch, how many, the position of the first, where its blocks are listed.
struct Segment {
  int32_t first_row, rows, position, table;
};

// Queries of ``rows`` rows of one head to ``span`` keys from the first block on.
template <int R>
void scores_of(const Attention& a, const float* queries, const int32_t* blocks, int count, int head, float* scores,
               int span) {
  constexpr int V = BLOCK / LANES;
  for (int block = 0; block < count; ++block) {
    Floats sums[R][V] = {};
    multiply<R, V>(sums, queries, a.width, a.key_block(blocks[block], head), BLOCK, a.width);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) store(scores + r * span + block * BLOCK + v * LANES, sums[r][v]);
  }
}

template <int R, int V>
void mix_columns(const Attention& a, const float* shares, int span, const int32_t* blocks, int count, int head,
                 int column, float* out, int64_t out_row) {
  Floats sums[R][V] = {};
  for (int block = 0; block < count; ++block)
    multiply<R, V>(sums, shares + block * BLOCK, span, a.value_block(blocks[block], head) + column, a.padded, BLOCK);
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) {
      const int at = column + v * LANES;
      if (at < a.width) store_part(out + r * out_row + at, a.width - at, sums[r][v]);
    }
}

template <int R>
void mix(const Attention& a, const float* shares, int span, const int32_t* blocks, int count, int head, float* out,
         int64_t out_row) {
  int column = 0;
  for (; column + 2 * LANES <= a.padded; column += 2 * LANES)
    mix_columns<R, 2>(a, shares, span, blocks, count, head, column, out, out_row);
  if (column < a.padded) mix_columns<R, 1>(a, shares, span, blocks, count, head, column, out, out_row);
}

// Scores from ``low`` to ``high`` become shares that add up to one, those outside zero.
void softmax(float* scores, int span, int low, int high) {
  const int first = low / LANES * LANES, end = high / LANES * LANES + LANES;  // whole vectors
  for (int lane = first; lane < low; ++lane) scores[lane] = -INFINITY;
  for (int lane = high + 1; lane < end; ++lane) scores[lane] = -INFINITY;
  Floats best = load<Floats>(scores + first);
  for (int i = first + LANES; i < end; i += LANES) {
    const Floats part = load<Floats>(scores + i);
    best = part > best ? part : best;
  }
  const float most = largest(best);
  for (int i = 0; i < first; i += LANES) store(scores + i, Floats{});
  for (int i = end; i < span; i += LANES) store(scores + i, Floats{});
  Floats sums = {};
  for (int i = first; i < end; i += LANES) {
    const Floats share = exponential(load<Floats>(scores + i) - most);
    store(scores + i, share);
    sums += share;
  }
  for (int lane = first; lane < low; ++lane) scores[lane] = 0;
  for (int lane = high + 1; lane < end; ++lane) scores[lane] = 0;
  const float factor = 1 / total(sums);
  for (int i = first; i < end; i += LANES) store(scores + i, load<Floats>(scores + i) * factor);
}

// task(tile, first row) for tiles of TILE rows, then for the rest of one, two, three, ...
template <class Task>
void in_tiles(int rows, const Task& task) {
  int row = 0;
  for (; row + TILE <= rows; row += TILE) task(std::integral_constant<int, TILE>{}, row);
  switch (rows - row) {
    case 5: return task(std::integral_constant<int, 5>{}, row);
    case 4: return task(std::integral_constant<int, 4>{}, row);
    case 3: return task(std::integral_constant<int, 3>{}, row);
    case 2: return task(std::integral_constant<int, 2>{}, row);
    case 1: return task(std::integral_constant<int, 1>{}, row);
  }
}

// A few positions of one sequence and the query heads of one key/value head: rows that share keys.
void attend_tile(const Attention& a, const Segment& s, const int32_t* tables, int head, int from, int to,
                 const float* queries, float* out) {
  static thread_local std::vector<float> gathered, scores, mixed;
  const int group = a.group(), rows = (to - from) * group;
  const int first = a.window ? std::max(0, s.position + from - a.window + 1) / BLOCK : 0;
  const int last = s.position + (a.full ? s.rows : to) - 1;
  const int count = last / BLOCK + 1 - first, span = count * BLOCK;
  const int32_t* blocks = tables + s.table + first;
  gathered.resize(rows * a.width);
  mixed.resize(rows * a.width);
  scores.resize(int64_t(rows) * span);
  for (int row = 0; row < rows; ++row) {
    const int64_t token = s.first_row + from + row / group;
    std::memcpy(&gathered[row * a.width], queries + (token * a.heads + head * group + row % group) * a.width,
                a.width * 4);
  }
  in_tiles(rows, [&](auto tile, int row) {
    scores_of<tile()>(a, &gathered[row * a.width], blocks, count, head, &scores[int64_t(row) * span], span);
  });
  for (int row = 0; row < rows; ++row) {
    const int position = s.position + from + row / group;
    const int low = a.window ? std::max(0, position - a.window + 1) : 0;
    softmax(&scores[int64_t(row) * span], span, low - first * BLOCK,
            (a.full ? last : position) - first * BLOCK);
  }
  in_tiles(rows, [&](auto tile, int row) {
    mix<tile()>(a, &scores[int64_t(row) * span], span, blocks, count, head, &mixed[row * a.width], a.width);
  });
  for (int row = 0; row < rows; ++row) {
    const int64_t token = s.first_row + from + row / group;
    std::memcpy(out + (token * a.heads + head * group + row % group) * a.width, &mixed[row * a.width], a.width * 4);
  }
}

// What a pass computes: rows of several sequences, and the angles of their positions, [M, E / 2].
struct Batch {
  const Segment* segments;
  int count;
  const int32_t* tables;
  const float *cosine, *sine;
};

// Rows of a matrix that may lie apart.
struct Rows {
  const float* first;
  int64_t apart;

  const float* at(int64_t row) const { return first + row * apart; }
};

// Rotate, keep the keys and values of all rows, then attend: queries [M, H, E], keys and values [M, J, E] to [M, H, E].
void attend_rows(const Attention& a, const Batch& batch, int64_t rows, Rows query, Rows key, Rows value, float* out) {
  static std::vector<float> rotated;
  static std::vector<int> part_of;
  struct Tile {
    int part, head, from, to;
  };
  static std::vector<Tile> tiles;
  tiles.clear();
  rotated.resize(rows * a.heads * a.width);
  part_of.assign(rows, 0);
  const int tokens = std::max(1, 12 / a.group()), half = a.width / 2;
  for (int part = 0; part < batch.count; ++part) {
    for (int row = 0; row < batch.segments[part].rows; ++row) part_of[batch.segments[part].first_row + row] = part;
    // the last positions see the most keys, and come first so that no thread ends with them
    for (int to = batch.segments[part].rows; to > 0; to -= tokens)
      for (int head = 0; head < a.kv_heads; ++head) tiles.push_back({part, head, std::max(0, to - tokens), to});
  }
  share(rows, 1, [&](int64_t from, int64_t to) {
    static thread_local std::vector<float> turned;
    turned.resize(a.width);
    for (int64_t row = from; row < to; ++row) {
      const float *turn = batch.cosine + row * half, *across = batch.sine + row * half;
      for (int head = 0; head < a.heads; ++head)
        rotate(query.at(row) + head * a.width, turn, across, a.width, a.scale,
               &rotated[(row * a.heads + head) * a.width]);
      const Segment& s = batch.segments[part_of[row]];
      const int position = s.position + int(row) - s.first_row;
      const int64_t block = batch.tables[s.table + position / BLOCK];
      for (int head = 0; head < a.kv_heads; ++head) {
        rotate(key.at(row) + head * a.width, turn, across, a.width, 1.0f, turned.data());
        float* column = a.key_block(block, head) + position % BLOCK;
        for (int i = 0; i < a.width; ++i) column[i * BLOCK] = turned[i];
        std::memcpy(a.value_block(block, head) + position % BLOCK * a.padded, value.at(row) + head * a.width,
                    a.width * 4);
      }
    }
  });
  share(tiles.size(), 1, [&](int64_t from, int64_t to) {
    for (int64_t at = from; at < to; ++at) {
      const Tile& t = tiles[at];
      attend_tile(a, batch.segments[t.part], batch.tables, t.head, t.from, t.to, rotated.data(), out);
    }
  });
}

}  // namespace
