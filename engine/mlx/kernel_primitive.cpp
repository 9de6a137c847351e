//go:build mlx

#if !defined(_MSC_VER) && __cplusplus < 202002L
#error "C++20 and MLX's headers are needed: run scripts/setup-mlx.sh and `. .cache/mlx/env.sh`, or build with make"
#endif

#include "kernel_primitive.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../../kernels/cpu/zmlx_kernel.h"
#include "mlx_handles.h"

#include "mlx/allocator.h"
#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"

namespace {

// Copy is an operand that does not lie row by row, and where its rows go.
struct Copy {
  const char *from;
  char *to;
  mx::Shape shape;
  mx::Strides strides; // in elements
  size_t item;

  void run() const {
    const size_t dims = shape.size();
    size_t rows = 1;
    for (size_t i = 0; i + 1 < dims; i++) rows *= static_cast<size_t>(shape[i]);
    const size_t n = static_cast<size_t>(shape[dims - 1]); // a scalar is contiguous
    const int64_t step = strides[dims - 1];
    std::vector<int> at(dims, 0);
    char *p = to;
    for (size_t row = 0; row < rows; row++) {
      int64_t first = 0;
      for (size_t i = 0; i + 1 < dims; i++) first += at[i] * strides[i];
      const char *q = from + first * static_cast<int64_t>(item);
      if (step == 1) {
        std::memcpy(p, q, n * item);
        p += n * item;
      } else {
        for (size_t i = 0; i < n; i++, p += item, q += step * static_cast<int64_t>(item)) std::memcpy(p, q, item);
      }
      for (size_t i = dims - 1; i-- > 0;) {
        if (++at[i] < shape[i]) break;
        at[i] = 0;
      }
    }
  }
};

// Kernel is a call of a function of the library of kernels.
class Kernel : public mx::Primitive, public std::enable_shared_from_this<Kernel> {
 public:
  Kernel(mx::Stream s, const zr_kernel_call &c, std::vector<bool> present)
      : Primitive(s),
        name_("zmlx." + std::string(c.name)),
        run_(reinterpret_cast<int (*)(const zmlx_call *)>(c.run)),
        error_(reinterpret_cast<const char *(*)()>(c.error)),
        ints_(c.ints, c.ints + c.n_ints),
        floats_(c.floats, c.floats + c.n_floats),
        workers_(c.workers),
        launches_(c.launches),
        present_(std::move(present)) {
    std::memcpy(grid_, c.grid, sizeof grid_);
    std::memcpy(group_, c.group, sizeof group_);
  }

  const char *name() const override { return name_.c_str(); }

  void eval_cpu(const std::vector<mx::array> &inputs, std::vector<mx::array> &outputs) override {
    auto &encoder = mx::cpu::get_command_encoder(stream());
    Task t{this, {}, {}, {}, {}, {}};
    size_t next = 0;
    for (bool present : present_) {
      if (!present) {
        t.in.push_back(nullptr);
        t.types.push_back(zmlx_absent);
        continue;
      }
      const mx::array &a = inputs[next++];
      encoder.set_input_array(a);
      t.types.push_back(static_cast<int32_t>(a.dtype().val()));
      if (a.flags().row_contiguous || a.size() == 0) { // wherever in a buffer it begins
        t.in.push_back(a.data<char>());
        continue;
      }
      mx::array whole(a.shape(), a.dtype(), nullptr, {});
      whole.set_data(mx::allocator::malloc(whole.nbytes()));
      t.copies.push_back({a.data<char>(), whole.data<char>(), a.shape(), a.strides(), a.itemsize()});
      t.in.push_back(whole.data<char>());
      encoder.add_temporary(std::move(whole));
    }
    for (auto &o : outputs) {
      o.set_data(mx::allocator::malloc(o.nbytes()));
      encoder.set_output_array(o);
      t.out.push_back(o.data<char>());
      t.types.push_back(static_cast<int32_t>(o.dtype().val()));
      t.held.push_back(o.data_shared_ptr());
    }
    // MLX holds the inputs' buffers and what is temporary until the task has run. The
    // results are held here, for whoever gives them up before they are computed; and the
    // primitive, whose numbers the task reads.
    t.held.push_back(shared_from_this());
    encoder.dispatch(std::move(t));
  }

  void eval_gpu(const std::vector<mx::array> &, std::vector<mx::array> &) override {
    throw std::runtime_error(name_ + ": this kernel is compiled for the CPU, and was given a stream of the GPU");
  }

 private:
  // Task is one call, when its inputs have been computed.
  struct Task {
    const Kernel *kernel;
    std::vector<const void *> in;
    std::vector<void *> out;
    std::vector<int32_t> types;
    std::vector<Copy> copies;
    std::vector<std::shared_ptr<void>> held;

    void operator()() {
      for (const Copy &c : copies) c.run();
      const Kernel &k = *kernel;
      const zmlx_call call{in.data(), out.data(), k.ints_.data(), k.floats_.data(), types.data(), k.grid_, k.group_, k.workers_};
      // MLX keeps what a task throws, and throws it again to whoever waits for the stream.
      if (k.run_(&call)) throw std::runtime_error(k.name_ + ": " + k.error_());
      __atomic_fetch_add(k.launches_, 1, __ATOMIC_RELAXED);
    }
  };

  const std::string name_;
  int (*const run_)(const zmlx_call *);
  const char *(*const error_)();
  const std::vector<int64_t> ints_;
  const std::vector<double> floats_;
  int64_t grid_[3], group_[3];
  const int workers_;
  uint64_t *const launches_;
  const std::vector<bool> present_; // of the spec's inputs
};

} // namespace

int zr_kernel(mlx_array *out, size_t n_out, const int *shapes, const size_t *ndims, const mlx_dtype *dtypes, const mlx_array *in, size_t n_in,
              const zr_kernel_call *call, mlx_stream s) {
  if (zr_guard()) return 1;
  size_t made = 0;
  try {
    std::vector<mx::array> inputs;
    std::vector<bool> present;
    for (size_t i = 0; i < n_in; i++) {
      present.push_back(in[i].ctx != nullptr);
      if (in[i].ctx) inputs.push_back(get(in[i]));
    }
    std::vector<mx::Shape> all;
    std::vector<mx::Dtype> types;
    for (size_t i = 0; i < n_out; shapes += ndims[i], i++) {
      all.emplace_back(shapes, shapes + ndims[i]);
      types.push_back(dtype_of(dtypes[i]));
    }
    auto kernel = std::make_shared<Kernel>(*static_cast<const mx::Stream *>(s.ctx), *call, std::move(present));
    for (mx::array &a : mx::array::make_arrays(std::move(all), types, kernel, inputs)) {
      out[made] = zr_checked(0, handle(std::move(a)));
      if (!out[made].ctx) throw std::length_error(""); // zr_checked has said why
      made++;
    }
    return 0;
  } catch (const std::exception &e) {
    if (*e.what()) _mlx_error(__FILE__, __LINE__, "%s", e.what());
  }
  zr_release(out, made);
  std::memset(out, 0, n_out * sizeof *out);
  return 1;
}
