// Down projection of the chosen experts, their weighted sum and the residual sum behind
// it. See kernels/gather_qmm_combine_add.yaml.
#include "combine.h"

extern "C" int zmlx_native_gather_qmm_combine_add(const zmlx_call *c) { return zmlx::combine(c, "gather_qmm_combine_add", true); }
