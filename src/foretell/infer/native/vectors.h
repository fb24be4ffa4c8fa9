// Vectors of floats in the compiler's own types, and the small sums over them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 8;  // a vector of AVX2, two of NEON; AVX-512 gains nothing where it is taken apart
constexpr int TILE = 6;   // rows that, times two vectors, stay in registers

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef int8_t SignedBytes __attribute__((vector_size(LANES)));

template <class T>
inline T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// GCC takes the generic conversion of narrow vectors apart; x86 has one instruction for each.
#ifdef __AVX2__
inline Integers widened(Bytes from) {
  return (Integers)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(load<int64_t>(&from)));
}
inline Integers widened(SignedBytes from) {
  return (Integers)_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(load<int64_t>(&from)));
}
#else
template <class Narrow>
inline Integers widened(Narrow from) {
  return __builtin_convertvector(from, Integers);
}
#endif

inline void store(void* to, Floats value) { std::memcpy(to, &value, sizeof value); }

inline Floats all(float value) { return Floats{} + value; }

// e^x to a few units in the last place: 2^n times a polynomial (Cephes' expf), x kept within -87 and 88.
inline Floats exponential(Floats x) {
  const float magic = 12582912.0f;  // adding it rounds to a whole number
  x = x < all(-87.0f) ? all(-87.0f) : x;
  x = x > all(88.0f) ? all(88.0f) : x;
  Floats whole = x * 1.44269504f + magic;
  whole -= magic;
  Floats rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Floats sum = all(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const Integers power = (__builtin_convertvector(whole, Integers) + 127) << 23;
  return sum * (Floats)power;
}

// The first ``count`` of a vector, the rest zero; whole ones, nearly all there are, without a copy of unknown length.
inline Floats load_part(const float* from, int64_t count) {
  if (count >= LANES) return load<Floats>(from);
  Floats value = {};
  std::memcpy(&value, from, count * 4);
  return value;
}

inline void store_part(float* to, int64_t count, Floats value) {
  if (count >= LANES) return store(to, value);
  std::memcpy(to, &value, count * 4);
}

inline float total(Floats value) {
  float sum = 0;
  for (int lane = 0; lane < LANES; ++lane) sum += value[lane];
  return sum;
}

inline float largest(Floats value) {
  float most = value[0];
  for (int lane = 1; lane < LANES; ++lane) most = std::max(most, value[lane]);
  return most;
}

// sums[r][v] += a[r][i] * b[i][v], i in order.
template <int R, int V>
inline void multiply(Floats (&sums)[R][V], const float* a, int64_t a_row, const float* b, int64_t b_row, int count) {
  for (int i = 0; i < count; ++i) {
    Floats column[V];
    for (int v = 0; v < V; ++v) column[v] = load<Floats>(b + i * b_row + v * LANES);
    for (int r = 0; r < R; ++r) {
      const float factor = a[r * a_row + i];
      for (int v = 0; v < V; ++v) sums[r][v] += factor * column[v];
    }
  }
}

}  // namespace
