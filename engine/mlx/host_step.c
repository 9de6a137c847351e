//go:build mlx

#include "host_step.h"

#include <string.h>

static void move(const zr_move *m) {
  char *to = m->to;
  if (m->at) to += *m->at * m->at_step;
  for (int64_t a = 0; a < m->shape[0]; a++) {
    const int64_t row = m->rows ? m->rows[a] : a;
    for (int64_t b = 0; b < m->shape[1]; b++)
      for (int64_t c = 0; c < m->shape[2]; c++) {
        char *t = to + a * m->to_step[0] + b * m->to_step[1] + c * m->to_step[2];
        const char *f = m->from + row * m->from_step[0] + b * m->from_step[1] + c * m->from_step[2];
        if (m->to_step[3] == m->unit && m->from_step[3] == m->unit) {
          memcpy(t, f, (size_t)(m->shape[3] * m->unit));
          continue;
        }
        for (int64_t d = 0; d < m->shape[3]; d++) memcpy(t + d * m->to_step[3], f + d * m->from_step[3], (size_t)m->unit);
      }
  }
}

int zr_host_step(const zr_host_launch *list, int n) {
  for (int i = 0; i < n; i++) {
    const zr_host_launch *l = &list[i];
    for (int k = 0; k < l->count; k++) move(&l->moves[k]);
    if (!l->run) continue;
    for (int k = 0; k < l->dynamic; k++) l->ints[l->place[k]] = l->now[k];
    if (l->run(l->call)) return i;
  }
  return n;
}
