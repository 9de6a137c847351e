// The list of kernels. scripts/build-kernels.sh writes zmlx_table, from what it compiles.
#include "host/error.h"
#include "zmlx_kernel.h"

extern "C" {

extern const zmlx_kernel zmlx_table[];
extern const int zmlx_table_size;

const zmlx_kernel *zmlx_kernels(int *count) {
  *count = zmlx_table_size;
  return zmlx_table;
}

const char *zmlx_error(void) { return zmlx::last_error().text; }
}
