// The subset on Metal, which already has nearly all of it: this text stands behind MLX's
// own prefix (metal_stdlib, bfloat16_t).
#define ZMLX_METAL 1

inline void ready() {} // see cuda.h

// ZMLX_ROUND(a * b) is a product that no addition is fused with. Metal fuses across
// statements and inlined functions, unless the product was made where the pragma
// forbids it; so the tag in front turns the * into such a function. The product
// must stand between the brackets.
struct zmlx_rounding {};
struct zmlx_factor {
  float v;
};
struct zmlx_product {
  float v;
};
inline zmlx_factor operator*(zmlx_rounding, float a) { return {a}; }
inline zmlx_product operator*(zmlx_factor a, float b) {
#pragma clang fp contract(off)
  return {a.v * b};
}
inline zmlx_product operator*(zmlx_product a, float b) {
#pragma clang fp contract(off)
  return {a.v * b};
}
inline float zmlx_value(zmlx_product p) { return p.v; }
#define ZMLX_ROUND(x) zmlx_value(zmlx_rounding{} * x)
