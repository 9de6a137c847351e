// Down projection of the chosen experts and their weighted sum. See
// kernels/gather_qmm_combine.yaml.
#include "combine.h"

extern "C" int zmlx_native_gather_qmm_combine(const zmlx_call *c) { return zmlx::combine(c, "gather_qmm_combine", false); }
