// Fibers: the threads of a threadgroup take turns on one operating-system thread.
//
// Fibers never move to another operating-system thread.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace zmlx {

#if defined(__x86_64__) || defined(__aarch64__)

struct fiber {
  void *sp; // where its registers are saved
};

// A fiber that gives way, and the one that goes on.
struct turn {
  void **from; // where to save the stack pointer
  void *to;
};

// zmlx_fiber_switch saves the registers that a call must keep, and returns on the
// other stack. zmlx_fiber_stop is the call with which a fiber stops at an op: it asks
// zmlx_fiber_next, in C++, who goes on, and switches.
//
// The symbols are local to the object file, so every source may include this header.
extern "C" {
__attribute__((visibility("hidden"))) void zmlx_fiber_switch(void **from, void *to) __asm__("zmlx_fiber_switch");
__attribute__((visibility("hidden"))) void zmlx_fiber_stop(const void *op, const char *file, int line) __asm__("zmlx_fiber_stop");
__attribute__((visibility("hidden"))) turn zmlx_fiber_next(const void *op, const char *file, int line) __asm__("zmlx_fiber_next");
}

#if defined(__x86_64__)
// The jump at the end is a return. A processor predicts returns by the calls before
// them, and here it would be wrong each time, as the fiber that called has
// just gone on to its next op; an indirect jump it predicts by experience.
__asm__(R"(
    .text
    .p2align 4
zmlx_fiber_stop:
    subq $8, %rsp
    call zmlx_fiber_next
    addq $8, %rsp
    movq %rax, %rdi
    movq %rdx, %rsi
zmlx_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
)");
#else
__asm__(R"(
    .text
    .p2align 4
zmlx_fiber_stop:
    stp x29, x30, [sp, #-16]!
    mov x29, sp
    bl zmlx_fiber_next
    ldp x29, x30, [sp], #16
zmlx_fiber_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
#endif

inline void fiber_switch(fiber &from, fiber &to) { zmlx_fiber_switch(&from.sp, to.sp); }
inline turn take_turns(fiber &from, fiber &to) { return {&from.sp, to.sp}; }

// fiber_start makes the first switch to f call entry, on the stack that ends at top.
inline void fiber_start(fiber &f, char *, char *top, void (*entry)()) {
  void **s = reinterpret_cast<void **>(top);
#if defined(__x86_64__)
  *--s = nullptr; // where entry's caller would be; leaves sp as a call does
  *--s = reinterpret_cast<void *>(entry);
  for (int i = 0; i < 6; i++) *--s = nullptr;
#else
  s -= 20;
  for (int i = 0; i < 20; i++) s[i] = nullptr;
  s[11] = reinterpret_cast<void *>(entry); // x30
#endif
  f.sp = s;
}

#else // any other processor, a hundred times slower

struct fiber {
  ucontext_t context;
};
struct turn {
  fiber *from, *to;
};
turn zmlx_fiber_next(const void *op, const char *file, int line);

inline turn take_turns(fiber &from, fiber &to) { return {&from, &to}; }
inline void fiber_switch(fiber &from, fiber &to) { swapcontext(&from.context, &to.context); }
inline void zmlx_fiber_stop(const void *op, const char *file, int line) {
  const turn t = zmlx_fiber_next(op, file, line);
  fiber_switch(*t.from, *t.to);
}
inline void fiber_start(fiber &f, char *low, char *top, void (*entry)()) {
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = low;
  f.context.uc_stack.ss_size = static_cast<size_t>(top - low);
  f.context.uc_link = nullptr;
  makecontext(&f.context, entry, 0);
}

#endif

// stacks are the stacks of one operating-system thread's fibers, mapped once. The
// lowest page of each is a guard: running over is a fault, not another lane's data.
class stacks {
 public:
  static constexpr size_t size = 128 * 1024; // of address space; pages come with use

  stacks() = default;
  stacks(const stacks &) = delete;
  stacks &operator=(const stacks &) = delete;
  ~stacks() {
    if (base_) munmap(base_, size * capacity_);
  }

  // reserve makes room for n stacks, or returns false. It must not be called
  // while a fiber is at work.
  bool reserve(size_t n) {
    if (n <= capacity_) return true;
    if (base_) munmap(base_, size * capacity_);
    base_ = nullptr, capacity_ = 0;
    void *p = mmap(nullptr, size * n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
    base_ = static_cast<char *>(p), capacity_ = n;
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    for (size_t i = 0; i < n; i++)
      if (mprotect(base_ + i * size, page_, PROT_NONE)) return false;
    return true;
  }

  char *low(size_t i) const { return base_ + i * size + page_; }

  // Stacks begin at different places of their pages: at the same place, all would
  // compete for the same few lines of the cache.
  char *top(size_t i) const { return base_ + (i + 1) * size - (i % 31) * 128; }

 private:
  char *base_ = nullptr;
  size_t capacity_ = 0, page_ = 0;
};

} // namespace zmlx
