// Products of many rows, such as a prompt's, with a quantized matrix.
//
// Few rows meet codes as they are decoded (quantized.cpp). With many, decoding would be
// done again for every tile of them, and each code would meet few numbers. So here
// `wide` rows of the matrix are decoded once, as far as the innermost cache holds them,
// and meet all rows of x. These lie in panels: a panel is as many rows as two vectors have
// lanes (the last one may be of one vector), element by element, element 0 of all its rows
// first. A step of the inner loop loads an element of a panel, which is a vector or two,
// and multiplies it with one element of each of the matrix's rows: all sums are in
// registers, and none must be added up across lanes.
//
// A sum is made of sums of up to `deep` products each.
#pragma once

#include "quantized.h"

namespace zmlx {

// many says whether so many rows are worth panels.
bool many(int64_t rows);

// panel_rows is how many rows panels for rows of x have in all.
int64_t panel_rows(int64_t rows);

// pack makes panels of rows of x for products with m. They begin at to, which is aligned
// to 64 bytes, and the panel of row r, if it begins with r, at to + r * m.k.
void pack(const Matrix &m, int32_t type, const void *x, int64_t rows, float *to, int workers);

// wide is how many rows of the matrix are worked on at once.
constexpr int64_t wide = 12;

// multiply_many is multiply for panels. rows is at most many_tile, count many_block, and
// y has room for all of that.
void multiply_many(const Matrix &m, int64_t first, int64_t count, const float *panels, int64_t rows, float *y, int64_t stride);

} // namespace zmlx
