/* Compiles CUDA source with NVRTC, which needs no GPU and is loaded at run time.

       nvrtc LIBNVRTC BUILTINS SOURCE PTX OPTION...

   prints NVRTC's log and exits with 0, with 1 if the source does not compile, or with 2 if
   NVRTC itself cannot be used. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct program *program;

static void *library;

static void *function(const char *name) {
  void *f = dlsym(library, name);
  if (!f) {
    printf("%s\n", dlerror());
    exit(2);
  }
  return f;
}

static char *read_all(const char *path) {
  FILE *f = fopen(path, "rb");
  char *text = NULL;
  size_t size = 0, n = 0;
  while (f) {
    if (n + 1 >= size) text = realloc(text, size = 2 * size + 65536);
    size_t got = text ? fread(text + n, 1, size - n - 1, f) : 0;
    if (!got) break;
    n += got;
  }
  if (!text) {
    printf("cannot read %s\n", path);
    exit(2);
  }
  fclose(f);
  text[n] = 0;
  return text;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  /* NVRTC looks for its built-in functions only where the loader does. */
  if (!dlopen(argv[2], RTLD_NOW | RTLD_GLOBAL) || !(library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL))) {
    printf("%s\n", dlerror());
    return 2;
  }
  int (*create)(program *, const char *, const char *, int, const char **, const char **) = function("nvrtcCreateProgram");
  int (*compile)(program, int, const char *const *) = function("nvrtcCompileProgram");
  int (*log_size)(program, size_t *) = function("nvrtcGetProgramLogSize");
  int (*get_log)(program, char *) = function("nvrtcGetProgramLog");
  int (*ptx_size)(program, size_t *) = function("nvrtcGetPTXSize");
  int (*get_ptx)(program, char *) = function("nvrtcGetPTX");

  program p;
  if (create(&p, read_all(argv[3]), "kernel.cu", 0, NULL, NULL)) return 2;
  int failed = compile(p, argc - 5, (const char *const *)argv + 5);
  size_t n = 0;
  if (!log_size(p, &n) && n > 1) {
    char *log = calloc(n + 1, 1);
    if (!get_log(p, log)) fputs(log, stdout);
  }
  if (failed) {
    if (n <= 1) printf("NVRTC fails with code %d\n", failed);
    return 1;
  }
  if (ptx_size(p, &n)) return 2;
  char *ptx = calloc(n + 1, 1);
  FILE *out = fopen(argv[4], "wb");
  if (get_ptx(p, ptx) || !out || fwrite(ptx, 1, n - 1, out) != n - 1 || fclose(out)) {
    printf("cannot write %s\n", argv[4]);
    return 2;
  }
  return 0;
}
