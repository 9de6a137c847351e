// The subset on Metal: MLX's own prefix (metal::utils) already has nearly all of it.
#define ZMLX_METAL 1
