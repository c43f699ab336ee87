// The stride-2 transposed convolution, phase by phase: output (2 i + py, 2 j + px) is a
// small convolution of the source around (i, j), so all loads are contiguous. Source
// planes carry their replicated border; gradients are gathered on planes that are wider
// by it and then folded onto the edge.
#pragma once

#include "train/kernels.hpp"
#include "train/vec.hpp"

namespace vireo::train::VIREO_ISA {

constexpr int PLANE_MARGIN = LANES;  // floats left of a plane's column 0, >= reach

// The kernel's shape. Where its side is a multiple of four, a phase has no tap at one end
// of the window. Other sides than 8 and 4 take the run-time reach and multiply by zeros.
template <int REACH>
struct Window {
  explicit Window(int) {}
  static constexpr int reach = REACH, size = 2 * REACH + 1, at_once = size;
  static constexpr bool has(int r, int p) { return p ? r > 0 : r < size - 1; }
};

struct AnyWindow {
  const int reach, size;
  static constexpr int at_once = 1;  // rows or columns
  explicit AnyWindow(int r) : reach(r), size(2 * r + 1) {}
  static constexpr bool has(int, int) { return true; }
};

template <class F>
VIREO_INLINE void with_window(const Upsampling& u, F&& f) {
  if (u.side == 8) return f(Window<2>(2));
  if (u.side == 4) return f(Window<1>(1));
  f(AnyWindow(u.reach));
}

// N vectors of the four phases' outputs from source columns at ... .
template <int N, class Win>
VIREO_INLINE void double_block(const Win& win, const float* taps, const float* const* rows, int at,
                               float* const* out) {
  Vf acc[4][N] = {};
#pragma GCC unroll 5
  for (int r = 0; r < win.size; ++r) {
#pragma GCC unroll 5
    for (int c = 0; c < win.size; ++c) {
      Vf s[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) s[v] = load(rows[r] + at + c - win.reach + v * W);
#pragma GCC unroll 4
      for (int phase = 0; phase < 4; ++phase) {
        if (!win.has(r, phase >> 1) || !win.has(c, phase & 1)) continue;
        const Vf tap = splat(taps[(r * win.size + c) * 4 + phase]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) acc[phase][v] += tap * s[v];
      }
    }
  }
#pragma GCC unroll 4
  for (int phase = 0; phase < 4; ++phase) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) store(out[phase] + at + v * W, acc[phase][v]);
  }
}

// Source rows around one row (2 reach + 1 pointers at column 0) to four phase rows.
template <class Win>
static inline void double_row(const Win& win, const float* taps, const float* const* rows, int n,
                              float* const* out) {
  int at = 0;
  for (; at + 2 * W <= n; at += 2 * W) double_block<2>(win, taps, rows, at, out);
  for (; at < n; at += W) double_block<1>(win, taps, rows, at, out);
}

// Adds the transposed convolution of the phases' gradients to N vectors of gradient rows.
template <int N, class Win>
VIREO_INLINE void halve_block(const Win& win, const float* taps, const float* const* phases,
                              int at, float* const* rows) {
  // A known window's rows are all held in registers, so that each load serves them all.
  constexpr int R = Win::at_once;
  for (int first = 0; first < win.size; first += R) {
    Vf acc[R][N];
#pragma GCC unroll 5
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) acc[r][v] = load(rows[first + r] + at + v * W);
    }
#pragma GCC unroll 5
    for (int c = 0; c < win.size; ++c) {
#pragma GCC unroll 4
      for (int phase = 0; phase < 4; ++phase) {
        if (!win.has(c, phase & 1)) continue;
        Vf g[N];
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) g[v] = load(phases[phase] + at - c + v * W);
#pragma GCC unroll 5
        for (int r = 0; r < R; ++r) {
          if (!win.has(r, phase >> 1)) continue;
          const Vf tap = splat(taps[((first + r) * win.size + c) * 4 + phase]);
#pragma GCC unroll 4
          for (int v = 0; v < N; ++v) acc[r][v] += tap * g[v];
        }
      }
    }
#pragma GCC unroll 5
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) store(rows[first + r] + at + v * W, acc[r][v]);
    }
  }
}

// phases: four rows at column 0, zero for PLANE_MARGIN columns before it and from the
// picture's edge to n; rows: 2 reach + 1 gradient rows whose column 0 stands for -reach.
template <class Win>
static inline void halve_row(const Win& win, const float* taps, const float* const* phases, int n,
                             float* const* rows) {
  int at = 0;
  for (; at + 2 * W <= n; at += 2 * W) halve_block<2>(win, taps, phases, at, rows);
  for (; at < n; at += W) halve_block<1>(win, taps, phases, at, rows);
}

// The taps' gradients of window row r, columns first ... , phases FROM ... TO - 1.
template <int FROM, int TO, class Win>
static inline void tap_block(const Win& win, int r, int first, const float* const* rows,
                             const float* const* phases, int channels, int n, float* acc) {
  constexpr int C = Win::at_once, P = TO - FROM;
  float* sums = acc + ((r * win.size + first) * 4 + FROM) * W;
  Vf total[C][P];
#pragma GCC unroll 5
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) total[c][p] = load(sums + (4 * c + p) * W);
  }
  for (int k = 0; k < channels; ++k) {
    const float* row = rows[k * win.size + r] + first - win.reach;
    const float* const* gradient = phases + 4 * k + FROM;
    for (int at = 0; at < n; at += W) {
      Vf g[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) g[p] = load(gradient[p] + at);
#pragma GCC unroll 5
      for (int c = 0; c < C; ++c) {
        const Vf s = load(row + at + c);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) {
          if (win.has(c, p & 1)) total[c][p] += s * g[p];
        }
      }
    }
  }
#pragma GCC unroll 5
  for (int c = 0; c < C; ++c) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) store(sums + (4 * c + p) * W, total[c][p]);
  }
}

// Adds the taps' gradients of one row and `channels` channels; acc is [taps] vectors.
template <class Win>
static inline void tap_row(const Win& win, const float* const* rows, const float* const* phases,
                           int channels, int n, float* acc) {
  for (int r = 0; r < win.size; ++r) {
    for (int c = 0; c < win.size; c += Win::at_once) {
      const bool even = win.has(r, 0), odd = win.has(r, 1);
      if (W == 16 && even && odd) {  // with fewer registers the sums would not fit
        tap_block<0, 4>(win, r, c, rows, phases, channels, n, acc);
        continue;
      }
      if (even) tap_block<0, 2>(win, r, c, rows, phases, channels, n, acc);
      if (odd) tap_block<2, 4>(win, r, c, rows, phases, channels, n, acc);
    }
  }
}

static inline void replicate(const Plane& p, int reach) {
  for (int y = 0; y < p.height; ++y) {
    float* row = p.origin + y * p.stride;
    for (int i = 1; i <= reach; ++i) {
      row[-i] = row[0];
      row[p.width - 1 + i] = row[p.width - 1];
    }
  }
  const std::size_t bytes = static_cast<std::size_t>(p.width + 2 * reach) * sizeof(float);
  const float* bottom = p.origin + (p.height - 1) * p.stride - reach;
  for (int i = 1; i <= reach; ++i) {
    __builtin_memcpy(p.origin - i * p.stride - reach, p.origin - reach, bytes);
    __builtin_memcpy(p.origin + (p.height - 1 + i) * p.stride - reach, bottom, bytes);
  }
}

// The transpose of `replicate`: adds the border's gradient to the edge's. The plane's
// rows start at column -reach.
static inline void fold(const Plane& p, int reach) {
  const std::ptrdiff_t wide = p.width + 2 * reach;
  float* top = p.origin - reach;
  float* bottom = top + (p.height - 1) * p.stride;
  for (int i = 1; i <= reach; ++i) {
    for (std::ptrdiff_t x = 0; x < wide; ++x) top[x] += top[x - i * p.stride];
    for (std::ptrdiff_t x = 0; x < wide; ++x) bottom[x] += bottom[x + i * p.stride];
  }
  for (int y = 0; y < p.height; ++y) {
    float* row = p.origin + y * p.stride;
    for (int i = 1; i <= reach; ++i) {
      row[0] += row[-i];
      row[p.width - 1] += row[p.width - 1 + i];
    }
  }
}

// Fills a channel's planes, from its own grid's to half resolution.
// Scratch: four rows of the widest plane.
static inline void chain_forward(const Chain& t, float* scratch) {
  const Upsampling& u = *t.upsampling;
  const Plane& own = t.planes[t.levels - 1];
  for (int y = 0; y < own.height; ++y) {
    __builtin_memcpy(own.origin + y * own.stride, t.quantised + t.grid.origin + y * t.grid.stride,
                     static_cast<std::size_t>(own.width) * sizeof(float));
  }
  replicate(own, u.reach);
  for (int k = t.levels - 1; k > 0; --k) {
    const Plane &from = t.planes[k], &to = t.planes[k - 1];
    const int n = static_cast<int>(round_up(from.width, LANES));
    float* out[4];
    for (int i = 0; i < 4; ++i) out[i] = scratch + i * n;
    for (int y = 0; y < from.height; ++y) {
      const float* rows[MAX_WIDTH];
      for (int r = 0; r <= 2 * u.reach; ++r) {
        rows[r] = from.origin + (y + r - u.reach) * from.stride;
      }
      with_window(u, [&](const auto& win) { double_row(win, u.taps, rows, n, out); });
      for (int py = 0; py < 2 && 2 * y + py < to.height; ++py) {
        float* row = to.origin + (2 * y + py) * to.stride;
        for (int x = 0; x < n; x += W) {
          join(row + 2 * x, load(out[2 * py] + x), load(out[2 * py + 1] + x));
        }
      }
    }
    replicate(to, u.reach);
  }
}

// Takes the gradient by the half-resolution plane down to the grid.
// Scratch: the gradient planes of all levels, four phase rows, the taps' vectors.
static inline void chain_backward(const Chain& t, float* scratch) {
  const Upsampling& u = *t.upsampling;
  const int reach = u.reach;
  float* acc = scratch;
  clear(acc, u.size() * W);
  scratch += u.size() * W;
  Plane gradient[MAX_WIDTH];
  for (int k = 0; k < t.levels; ++k) {
    const Plane& p = t.planes[k];
    const std::ptrdiff_t stride = round_up(p.width + 2 * reach, LANES) + 2 * LANES;
    gradient[k] = {scratch + reach * stride + reach, stride, p.height, p.width};
    const std::ptrdiff_t size = (p.height + 2 * reach) * stride;
    clear(scratch, size);
    scratch += size;
  }
  const Plane& top = gradient[0];
  for (int s = 0; s < t.slabs; ++s) {
    const float* slab = t.slab + s * t.slab_size + t.channel * t.slab_stride;
    for (int r = 0; r < t.slab_rows + 2 * reach; ++r) {
      const int y = s * t.slab_rows + r - reach;
      if (y >= top.height + reach) break;
      const float* from = slab + r * t.channels * t.slab_stride;
      float* to = top.origin + y * top.stride - reach;
      for (int x = 0; x < top.width + 2 * reach; x += W) {
        store(to + x, load(to + x) + load(from + x));
      }
    }
  }
  fold(top, reach);
  for (int k = 1; k < t.levels; ++k) {
    const Plane &fine = gradient[k - 1], &coarse = gradient[k];
    const int n = static_cast<int>(round_up(coarse.width + 2 * reach, LANES));
    const int stride = PLANE_MARGIN + n;
    clear(scratch, 4 * stride);
    float* phases[4];
    for (int i = 0; i < 4; ++i) phases[i] = scratch + i * stride + PLANE_MARGIN;
    for (int y = 0; y < coarse.height; ++y) {
      for (int py = 0; py < 2; ++py) {
        float *even = phases[2 * py], *odd = phases[2 * py + 1];
        if (2 * y + py >= fine.height) {
          clear(even, n);
          clear(odd, n);
          continue;
        }
        const float* row = fine.origin + (2 * y + py) * fine.stride;
        for (int x = 0; x < coarse.width; ++x) even[x] = row[2 * x];
        for (int x = 0; x < fine.width / 2; ++x) odd[x] = row[2 * x + 1];
      }
      const float* sources[MAX_WIDTH];
      float* targets[MAX_WIDTH];
      for (int r = 0; r <= 2 * reach; ++r) {
        sources[r] = t.planes[k].origin + (y + r - reach) * t.planes[k].stride;
        targets[r] = coarse.origin + (y + r - reach) * coarse.stride - reach;
      }
      with_window(u, [&](const auto& win) {
        halve_row(win, u.taps, phases, n, targets);
        tap_row(win, sources, phases, 1, static_cast<int>(round_up(coarse.width, LANES)), acc);
      });
    }
    fold(coarse, reach);
  }
  const Plane& own = gradient[t.levels - 1];
  for (int y = 0; y < own.height; ++y) {
    __builtin_memcpy(t.gradient + t.grid.origin + y * t.grid.stride, own.origin + y * own.stride,
                     static_cast<std::size_t>(own.width) * sizeof(float));
  }
  for (int i = 0; i < u.size(); ++i) t.tap_gradient[i] = sum(load(acc + i * W));
}

}  // namespace vireo::train::VIREO_ISA
