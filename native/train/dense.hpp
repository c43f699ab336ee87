// Linear layers over tiles of lanes: activations are rows of lanes, one per channel.
// Blocks of outputs and vectors of lanes are held in registers, so the speed does not
// depend on the number of channels, which stays a run-time value.
#pragma once

#include "train/kernels.hpp"
#include "train/vec.hpp"

namespace vireo::train::VIREO_ISA {

// Registers: AVX-512 has 32, the others 16.
constexpr int OUTPUTS = 6;                   // per block of a product
constexpr int VECTORS = W == 16 ? 4 : 2;     // of lanes per block
constexpr int OUTER_G = W == 16 ? 5 : 4;     // block of a weight gradient
constexpr int OUTER_X = W == 16 ? 5 : 2;
static_assert(64 % (VECTORS * W) == 0, "tiles are multiples of 64 lanes");

enum class Tail { linear, relu, gate };

template <int N>
struct Count {
  static constexpr int value = N;
};

// Calls f(Count<n>) for a run-time n in 1 ... N.
template <int N, class F>
VIREO_INLINE void with_count(int n, F&& f) {
  if constexpr (N > 1) {
    if (n < N) return with_count<N - 1>(n, f);
  }
  f(Count<N>{});
}

// Splits `count` into near-equal blocks of at most N and calls f(at, Count<size>).
template <int N, class F>
VIREO_INLINE void in_blocks(int count, F&& f) {
  int blocks = (count + N - 1) / N;
  for (int at = 0; at < count; --blocks) {
    const int size = (count - at + blocks - 1) / blocks;
    with_count<N>(size, [&](auto n) { f(at, n); });
    at += size;
  }
}

template <int O, Tail tail>
static inline void product_block(const float* packed, int inputs, const float* const* x,
                                 float* const* y, int lanes) {
  for (int at = 0; at < lanes; at += VECTORS * W) {
    Vf acc[O][VECTORS];
    const float* w = packed;
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) acc[o][v] = splat(w[o]);
    }
    for (int i = 0; i < inputs; ++i) {
      w += O;
      Vf in[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) in[v] = load(x[i] + at + v * W);
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) {
        const Vf weight = splat(w[o]);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) acc[o][v] += weight * in[v];
      }
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) {
        float* out = y[o] + at + v * W;
        Vf value = acc[o][v];
        // Written so that a NaN passes and reaches the loss, where the guard sees it.
        if constexpr (tail == Tail::relu) value = value < 0.0f ? Vf{} : value;
        if constexpr (tail == Tail::gate) value = load(out) > 0.0f ? value : Vf{};
        store(out, value);
      }
    }
  }
}

// y = tail(bias + weight x); `gate` keeps what stands where y held a positive activation.
template <Tail tail>
static inline void product(const float* packed, int inputs, int outputs, const float* const* x,
                           float* const* y, int lanes) {
  in_blocks<OUTPUTS>(outputs, [&](int at, auto n) {
    constexpr int O = decltype(n)::value;
    product_block<O, tail>(packed + at * (inputs + 1), inputs, x, y + at, lanes);
  });
}

template <int G, int X>
static inline void outer_block(const float* const* g, const float* const* x, int lanes, float* acc,
                               int inputs) {
  Vf total[G][X];
#pragma GCC unroll 8
  for (int o = 0; o < G; ++o) {
#pragma GCC unroll 8
    for (int i = 0; i < X; ++i) total[o][i] = load(acc + (o * inputs + i) * W);
  }
  for (int at = 0; at < lanes; at += W) {
    Vf in[X];
#pragma GCC unroll 8
    for (int i = 0; i < X; ++i) in[i] = load(x[i] + at);
#pragma GCC unroll 8
    for (int o = 0; o < G; ++o) {
      const Vf gradient = load(g[o] + at);
#pragma GCC unroll 8
      for (int i = 0; i < X; ++i) total[o][i] += gradient * in[i];
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < G; ++o) {
#pragma GCC unroll 8
    for (int i = 0; i < X; ++i) store(acc + (o * inputs + i) * W, total[o][i]);
  }
}

// Adds the weights' and biases' gradients, a vector of partial sums per parameter.
static inline void outer(const Layer& layer, const float* const* g, const float* const* x,
                         int lanes, float* acc) {
  float* weights = acc + layer.weight_at * W;
  in_blocks<OUTER_G>(layer.outputs, [&](int o, auto gs) {
    in_blocks<OUTER_X>(layer.inputs, [&](int i, auto xs) {
      outer_block<decltype(gs)::value, decltype(xs)::value>(
          g + o, x + i, lanes, weights + (o * layer.inputs + i) * W, layer.inputs);
    });
  });
  for (int o = 0; o < layer.outputs; ++o) {
    float* bias = acc + (layer.bias_at + o) * W;
    Vf total = load(bias), other = Vf{};
    for (int at = 0; at < lanes; at += 2 * W) {
      total += load(g[o] + at);
      other += load(g[o] + at + W);
    }
    store(bias, total + other);
  }
}

VIREO_INLINE int whole_vectors(int n) { return static_cast<int>(round_up(n, W)); }
VIREO_INLINE int whole_lanes(int n) { return static_cast<int>(round_up(n, 64)); }

// Rows of lanes turned round: for each lane its numbers in whole vectors, with zeros behind.
static inline void turn(const float* const* rows, int count, int lanes, float* turned) {
  const int stride = whole_vectors(count);
  for (int c = 0; c < count; ++c)
    for (int p = 0; p < lanes; ++p) turned[p * stride + c] = rows[c][p];
  for (int p = 0; p < lanes; ++p)
    for (int c = count; c < stride; ++c) turned[p * stride + c] = 0;
}

template <int M, int N>
static inline void add_products_block(const float* const* wide, const float* narrow, int stride, int lanes,
                  float* sums) {
  Vf total[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) total[m][v] = load(sums + m * stride + v * W);
  }
  for (int p = 0; p < lanes; ++p, narrow += stride) {
    Vf own[N];
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) own[v] = load(narrow + v * W);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Vf factor = splat(wide[m][p]);
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) total[m][v] += factor * own[v];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) store(sums + m * stride + v * W, total[m][v]);
  }
}

// Adds to sums [wide, stride] the products of rows of lanes with others, which are turned.
static inline void add_products(const float* const* wide, int count, const float* narrow,
                                int stride, int lanes, float* sums) {
  in_blocks<OUTPUTS>(count, [&](int m, auto ms) {
    in_blocks<VECTORS>(stride / W, [&](int v, auto vs) {
      add_products_block<decltype(ms)::value, decltype(vs)::value>(
          wide + m, narrow + v * W, stride, lanes, sums + m * stride + v * W);
    });
  });
}

// A tile's activations: rows[l] are layer l's outputs, forward; then, as `backward` works
// its way down, the gradients with respect to what stood before the ReLU.
struct Activations {
  float* rows[MAX_DEPTH][MAX_WIDTH];

  // Takes mlp.activations * tile floats.
  void place(const Mlp& mlp, float* memory, int tile) {
    for (int l = 0; l < mlp.depth; ++l) {
      for (int c = 0; c < mlp.layers[l].outputs; ++c, memory += tile) rows[l][c] = memory;
    }
  }
};

static inline void forward(const Mlp& mlp, const float* const* x, Activations& a, int lanes) {
  for (int l = 0; l < mlp.depth; ++l) {
    const Layer& layer = mlp.layers[l];
    const float* const* in = l ? a.rows[l - 1] : x;
    if (l + 1 < mlp.depth) {
      product<Tail::relu>(layer.forward, layer.inputs, layer.outputs, in, a.rows[l], lanes);
    } else {
      product<Tail::linear>(layer.forward, layer.inputs, layer.outputs, in, a.rows[l], lanes);
    }
  }
}

// Expects the last rows to hold the output's gradient. `acc` null: no parameter gradients;
// `dx` null: no input gradient.
static inline void backward(const Mlp& mlp, const float* const* x, Activations& a, int lanes,
                            float* acc, float* const* dx) {
  for (int l = mlp.depth - 1; l >= 0; --l) {
    const Layer& layer = mlp.layers[l];
    float* const* g = a.rows[l];
    if (acc) outer(layer, g, l ? a.rows[l - 1] : x, lanes, acc);
    if (l) {
      product<Tail::gate>(layer.backward, layer.outputs, layer.inputs, g, a.rows[l - 1], lanes);
    } else if (dx) {
      product<Tail::linear>(layer.backward, layer.outputs, layer.inputs, g, dx, lanes);
    }
  }
}

// Block after block of outputs: the block's biases, then its weights input by input.
static inline void pack_layer(const Layer& layer, const float* parameters) {
  const float* weight = parameters + layer.weight_at;
  const float* bias = parameters + layer.bias_at;
  float* p = layer.forward;
  in_blocks<OUTPUTS>(layer.outputs, [&](int at, auto n) {
    for (int o = at; o < at + n.value; ++o) *p++ = bias[o];
    for (int i = 0; i < layer.inputs; ++i) {
      for (int o = at; o < at + n.value; ++o) *p++ = weight[o * layer.inputs + i];
    }
  });
  p = layer.backward;
  in_blocks<OUTPUTS>(layer.inputs, [&](int at, auto n) {
    for (int i = at; i < at + n.value; ++i) *p++ = 0;
    for (int o = 0; o < layer.outputs; ++o) {
      for (int i = at; i < at + n.value; ++i) *p++ = weight[o * layer.inputs + i];
    }
  });
}

static inline void pack(const Mlp& mlp, const float* parameters) {
  for (int l = 0; l < mlp.depth; ++l) pack_layer(mlp.layers[l], parameters);
}

static inline void reduce(const float* acc, int count, float* sums) {
  for (int i = 0; i < count; ++i) sums[i] = sum(load(acc + i * W));
}

}  // namespace vireo::train::VIREO_ISA
