// Optimizer loops: one pass over parameter, gradient and state. See simd.inc.h for how this file is compiled.

/// Decoupled weight decay (Loshchilov & Hutter, 2019), in the order of operations of torch.optim.AdamW.
template <class T>
void adamw(void* p_, const float* g, float* m, float* v, void* copy_, const AdamWScalars& s, int64_t begin,
           int64_t end) {
  T* p = static_cast<T*>(p_) + begin;
  Bf16* copy = copy_ ? static_cast<Bf16*>(copy_) + begin : nullptr;
  g += begin;
  m += begin;
  v += begin;
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) {
    const Vf grad = io.get(g + i, n) * s.grad_scale;
    const Vf m0 = io.get(m + i, n);
    const Vf m1 = m0 + (grad - m0) * s.rest1;
    const Vf v1 = io.get(v + i, n) * s.beta2 + grad * grad * s.rest2;
    io.put(m + i, m1, n);
    io.put(v + i, v1, n);
    const Vf x = io.get(p + i, n) * s.decay - m1 / (sqrt(v1) / s.bias2_sqrt + s.eps) * s.step_size;
    io.put(p + i, x, n);
    if (copy) io.put(copy + i, x, n);
  });
}

/// torch.optim.SGD without dampening or Nesterov: buf = momentum buf + g, p -= lr buf.
template <class T>
void sgd(void* p_, const float* g, float* momentum, void* copy_, const SgdScalars& s, int64_t begin,
         int64_t end) {
  T* p = static_cast<T*>(p_) + begin;
  Bf16* copy = copy_ ? static_cast<Bf16*>(copy_) + begin : nullptr;
  g += begin;
  if (momentum) momentum += begin;
  for_vectors(end - begin, [&](auto io, int64_t i, int64_t n) {
    const Vf x = io.get(p + i, n);
    Vf step = io.get(g + i, n) * s.grad_scale + x * s.weight_decay;
    if (momentum) {
      step += io.get(momentum + i, n) * s.momentum;
      io.put(momentum + i, step, n);
    }
    const Vf updated = x - step * s.lr;
    io.put(p + i, updated, n);
    if (copy) io.put(copy + i, updated, n);
  });
}
