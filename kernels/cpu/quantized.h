// Products with quantized matrices: the inner loops that all kernels on quantized
// weights share.
//
// A matrix is as MLX packs it (mlx/ops.cpp, "quantize"): codes of 4 or 8 bits, lowest
// bits first, in words of 32; each group of codes in a row has a scale, and in mode
// affine a bias:
//
//     affine   scale * code + bias
//     mxfp4    2^(scale - 127) * e2m1(code)     one byte of scale (OCP MX, e8m0)
//
// Codes become floats before they meet x, as MLX's CPU backend and the reference have
// it. (Metal's kernels add up code * x and bring in scale and bias for the sum of the
// group. That saves work, but gives NaN where x is infinite and a code is 0.) Sums are
// in float32.
#pragma once

#include <cstdint>
#include <memory>

#include "elements.h"

namespace zmlx {

enum class Format { affine4, affine8, mxfp4 };

// Matrix is n rows of k codes.
struct Matrix {
  Format format;
  int32_t scale_type; // of scales and biases; zmlx_uint8 in mxfp4
  int64_t n, k, group;
  const uint8_t *codes;
  const uint8_t *scales, *biases;

  int64_t groups() const { return k / group; }
  int64_t row_bytes() const { return format == Format::affine8 ? k : k / 2; }
  int64_t scale_bytes() const { return scale_type == zmlx_uint8 ? 1 : static_cast<int64_t>(bytes_of(scale_type)); }
  // bytes is what one reading of a row costs, scales and biases included.
  int64_t bytes() const { return row_bytes() + groups() * scale_bytes() * (biases ? 2 : 1); }
  // expert is matrix i of several that lie one behind the other.
  Matrix expert(int64_t i) const {
    Matrix m = *this;
    m.codes += i * n * row_bytes();
    m.scales += i * n * groups() * scale_bytes();
    if (biases) m.biases += i * n * groups() * scale_bytes();
    return m;
  }
};

// Packing is what a call says of its matrices.
struct Packing {
  int64_t n, k, bits, group;
  bool mxfp4;
};

// matrix_of checks what the loops rely on, and returns false with the error set if it
// does not hold.
bool matrix_of(const char *kernel, const Packing &p, const void *w, const void *scales, const void *biases, int32_t scale_type, Matrix *m);

// block is the most rows of a matrix that a kernel multiplies with at once, and tile the
// most rows of x, so that results fit on the stack: few as the loops below have it, many
// as those for many rows (many.h).
constexpr int64_t block = 64, tile = 8, many_block = 48, many_tile = 128;

// Input is x, converted and in the order of elements that the loops want.
class Input {
 public:
  // make converts rows of k elements for products with m, to be had one by one.
  void make(const Matrix &m, int32_t type, const void *x, int64_t rows);
  // make_all converts rows of k elements for products of all of them with m. If they are
  // many, that is a job for several threads.
  void make_all(const Matrix &m, int32_t type, const void *x, int64_t rows, int workers);
  const float *row(int64_t i) const { return data_ + i * k_; }
  // many says whether rows lie in panels (many.h).
  bool many() const { return many_; }

 private:
  void reserve(int64_t n);

  std::unique_ptr<float[]> memory_;
  int64_t size_ = 0, k_ = 0;
  bool many_ = false;
  float *data_ = nullptr;
};

// multiply computes y[r * stride + i] = x[r] · m[first + i] for r < rows <= tile and
// i < count. x is a row of an Input of m.
void multiply(const Matrix &m, int64_t first, int64_t count, const float *x, int64_t rows, float *y, int64_t stride);

// input is a buffer of the calling thread, which keeps its memory for the next call.
Input &input();

} // namespace zmlx
