/* arm_neon_mixers.c - mixers with a state, for NEON: gates, a row of a convolution, state spaces, the
 * delta rule, a step of RWKV-7; and sums of scaled rows.
 *
 * What has a state goes over a few columns of it at a time, 64 bytes wide where there are as many: the
 * columns' sums stay in registers, and an in-order core always has another column to work on. All loads
 * of a row stand before its stores, and jobs are copied: to a compiler a store may change anything. */

#if defined(ARM_HAS_NEON)

/* ---- Element by element ---------------------------------------------------------------------- */

static NEON ARM_INLINE float32x4_t neon_gate_of(float32x4_t gate, float32x4_t x, float unused)
{
    (void)unused;
    return neon_gate(x, gate);
}

static NEON ARM_INLINE float32x4_t neon_product_of(float32x4_t a, float32x4_t b, float unused)
{
    (void)unused;
    return vmulq_f32(a, b);
}

static NEON ARM_INLINE float32x4_t neon_scaled_sum_of(float32x4_t y, float32x4_t x, float scale)
{
    return vaddq_f32(y, vmulq_n_f32(x, scale));
}

/* ln(1 + exp(x)) = max(x, 0) + ln(1 + t), t = exp(-|x|) in 0..1, and ln(1 + t) = 2 artanh(s) with
 * s = t / (2 + t), whose series is short: s is at most 1/3. */
static NEON ARM_INLINE float32x4_t neon_softplus_of(float32x4_t x, float32x4_t unused, float two)
{
    (void)unused;
    float32x4_t t = neon_exp(vnegq_f32(vabsq_f32(x)));
    float32x4_t s = vdivq_f32(t, vaddq_f32(t, vdupq_n_f32(two))), square = vmulq_f32(s, s);
    float32x4_t p = vfmaq_f32(vdupq_n_f32(2.0f / 13), square, vdupq_n_f32(2.0f / 15));
    p = vfmaq_f32(vdupq_n_f32(2.0f / 11), p, square);
    p = vfmaq_f32(vdupq_n_f32(2.0f / 9), p, square);
    p = vfmaq_f32(vdupq_n_f32(2.0f / 7), p, square);
    p = vfmaq_f32(vdupq_n_f32(2.0f / 5), p, square);
    p = vfmaq_f32(vdupq_n_f32(2.0f / 3), p, square);
    p = vfmaq_f32(vdupq_n_f32(two), p, square);
    return vfmaq_f32(vmaxq_f32(x, vdupq_n_f32(0)), p, s);
}

static NEON void neon_sigmoid_gate(float *y, const float *gate, const float *x, int64_t n)
{
    neon_map(y, gate, x, 0, n, neon_gate_of);
}

static NEON void neon_vector_multiply(float *y, const float *a, const float *b, int64_t n)
{
    neon_map(y, a, b, 0, n, neon_product_of);
}

static NEON void neon_vector_add_scaled(float *y, const float *x, float scale, int64_t n)
{
    neon_map(y, y, x, scale, n, neon_scaled_sum_of);
}

static NEON void neon_softplus(float *y, const float *x, int64_t n)
{
    neon_map(y, x, NULL, 2.0f, n, neon_softplus_of);
}

/* ---- Convolution ----------------------------------------------------------------------------- */

/* Channels i.. of a token: n_vectors of four, or n of one. The state rows are read and moved in one
 * go. */
static NEON ARM_INLINE void neon_conv_columns(struct kernel_conv r, int64_t t, int64_t i,
                                              int n_vectors, int64_t n)
{
    const float *state = (t == 0 ? r.from : r.to) + i;
    float *x = r.x + t * r.stride + i;
    float32x4_t y[NEON_TOGETHER], z[NEON_TOGETHER];
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        y[c] = r.bias != NULL ? neon_part(r.bias + i + 4 * c, n) : vdupq_n_f32(0);
    }
    for (int32_t j = 0; j < r.n_conv; j++) {
        const float *from = j + 1 < r.n_conv ? state + j * r.width : x;
        const float *kernel = r.kernel + j * r.width + i;
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            z[c] = neon_part(from + 4 * c, n);
            y[c] = vfmaq_f32(y[c], neon_part(kernel + 4 * c, n), z[c]);
        }
        if (j > 0) {
            SLM_UNROLL
            for (int c = 0; c < n_vectors; c++) {
                neon_store_part(r.to + (j - 1) * r.width + i + 4 * c, z[c], n);
            }
        }
    }
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        y[c] = r.silu ? neon_gate(y[c], y[c]) : y[c];
        neon_store_part(x + 4 * c, y[c], n);
    }
}

static NEON void neon_conv(const struct kernel_conv *job)
{
    for (int64_t t = 0; t < job->n_token; t++) {
        int64_t i = 0;
        for (; i + 4 * NEON_TOGETHER <= job->n; i += 4 * NEON_TOGETHER) {
            neon_conv_columns(*job, t, i, NEON_TOGETHER, 4);
        }
        for (; i < job->n; i += 4) {
            neon_conv_columns(*job, t, i, 1, job->n - i);
        }
    }
}

/* ---- State spaces ---------------------------------------------------------------------------- */

/* Channels i.. of a head at a token: n_vectors of four, or n of one. */
static NEON ARM_INLINE void neon_ssm_head_columns(struct kernel_ssm_head job, int64_t t, int64_t i,
                                                  int n_vectors, int64_t n)
{
    float32x4_t in[NEON_TOGETHER], sum[NEON_TOGETHER], v[NEON_TOGETHER];
    const float *from = (t == 0 ? job.from : job.to) + i;
    const float *x = job.x + t * job.stride + i;
    const float *b = job.b + t * job.stride, *c = job.c + t * job.stride;
    float *to = job.to + i, *y = job.y + t * job.y_stride + i;
    float step = job.gates[2 * t], decay = job.gates[2 * t + 1];
    SLM_UNROLL
    for (int k = 0; k < n_vectors; k++) {
        in[k] = vmulq_n_f32(neon_part(x + 4 * k, n), step);
        sum[k] = vdupq_n_f32(0);
    }
    for (int64_t j = 0; j < job.n_state; j++, from += job.n, to += job.n) {
        float b_j = b[j], c_j = c[j];
        SLM_UNROLL
        for (int k = 0; k < n_vectors; k++) {
            v[k] = vmulq_n_f32(in[k], b_j);
            v[k] = vfmaq_n_f32(v[k], neon_part(from + 4 * k, n), decay);
            sum[k] = vfmaq_n_f32(sum[k], v[k], c_j);
        }
        SLM_UNROLL
        for (int k = 0; k < n_vectors; k++) {
            neon_store_part(to + 4 * k, v[k], n);
        }
    }
    SLM_UNROLL
    for (int k = 0; k < n_vectors; k++) {
        neon_store_part(y + 4 * k, vfmaq_n_f32(sum[k], neon_part(x + 4 * k, n), job.skip), n);
    }
}

static NEON void neon_ssm_head(const struct kernel_ssm_head *job)
{
    for (int64_t t = 0; t < job->n_token; t++) {
        int64_t i = 0;
        for (; i + 4 * NEON_TOGETHER <= job->n; i += 4 * NEON_TOGETHER) {
            neon_ssm_head_columns(*job, t, i, NEON_TOGETHER, 4);
        }
        for (; i < job->n; i += 4) {
            neon_ssm_head_columns(*job, t, i, 1, job->n - i);
        }
    }
}

/* Channels i.. : n_vectors of four, or n of one. */
static NEON ARM_INLINE void neon_ssm_channels_columns(struct kernel_ssm s,
                                                      struct kernel_ssm_channels own, int64_t i,
                                                      int n_vectors, int64_t n)
{
    float32x4_t step[NEON_TOGETHER], in[NEON_TOGETHER], sum[NEON_TOGETHER], v[NEON_TOGETHER];
    float *state = s.state + i;
    const float *a = own.a + i;
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        step[c] = neon_part(own.step + i + 4 * c, n);
        in[c] = vmulq_f32(step[c], neon_part(s.x + i + 4 * c, n));
        sum[c] = vdupq_n_f32(0);
    }
    for (int64_t j = 0; j < s.n_state; j++, state += s.n, a += own.a_stride) {
        float b_j = s.b[j], c_j = s.c[j];
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            float32x4_t decay = neon_exp(vmulq_f32(step[c], neon_part(a + 4 * c, n)));
            v[c] = vmulq_n_f32(in[c], b_j);
            v[c] = vfmaq_f32(v[c], decay, neon_part(state + 4 * c, n));
            sum[c] = vfmaq_n_f32(sum[c], v[c], c_j);
        }
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            neon_store_part(state + 4 * c, v[c], n);
        }
    }
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        float32x4_t x = neon_part(s.x + i + 4 * c, n);
        float32x4_t skip = neon_part(own.skip + i + 4 * c, n);
        neon_store_part(s.y + i + 4 * c, vfmaq_f32(sum[c], skip, x), n);
    }
}

static NEON void neon_ssm_channels(const struct kernel_ssm *s,
                                   const struct kernel_ssm_channels *own)
{
    int64_t i = 0;
    for (; i + 4 * NEON_TOGETHER <= s->n; i += 4 * NEON_TOGETHER) {
        neon_ssm_channels_columns(*s, *own, i, NEON_TOGETHER, 4);
    }
    for (; i < s->n; i += 4) {
        neon_ssm_channels_columns(*s, *own, i, 1, s->n - i);
    }
}

/* ---- The delta rule -------------------------------------------------------------------------- */

/* The columns go through all tokens, in scratch between the first and the last: in one pass over them
 * a token's update, its output, and S^T k of the next token. */

/* sum = S^T k */
static NEON ARM_INLINE void neon_delta_sum(struct kernel_delta_job job, int64_t column,
                                           float32x4_t sum[NEON_TOGETHER])
{
    const float *s = job.from + column;
    SLM_UNROLL
    for (int c = 0; c < NEON_TOGETHER; c++) {
        sum[c] = vdupq_n_f32(0);
    }
    for (int64_t i = 0; i < job.n_key; i++, s += job.n_value) {
        SLM_UNROLL
        for (int c = 0; c < NEON_TOGETHER; c++) {
            sum[c] = vfmaq_n_f32(sum[c], vld1q_f32(s + 4 * c), job.k[i]);
        }
    }
}

/* S = decay * S + k d^T, o = S^T q; and sum = S^T k_next, if there is one. */
static NEON ARM_INLINE void neon_delta_update(struct kernel_delta_job job, int64_t token,
                                              int64_t column, int has_next,
                                              const float32x4_t d[NEON_TOGETHER],
                                              float32x4_t sum[NEON_TOGETHER])
{
    const float *from = token == 0 ? job.from + column : job.scratch;
    float *to = has_next ? job.scratch : job.to + column;
    int64_t from_step = token == 0 ? job.n_value : 4 * NEON_TOGETHER;
    int64_t to_step = has_next ? 4 * NEON_TOGETHER : job.n_value;
    const float *k = job.k + token * job.n_key;
    const float *q = job.q + token * job.n_key;
    const float decay = job.gates[2 * token];
    float32x4_t o[NEON_TOGETHER], s[NEON_TOGETHER];
    SLM_UNROLL
    for (int c = 0; c < NEON_TOGETHER; c++) {
        sum[c] = o[c] = vdupq_n_f32(0);
    }
    for (int64_t i = 0; i < job.n_key; i++, from += from_step, to += to_step) {
        float k_i = k[i], q_i = q[i], next = has_next ? k[i + job.n_key] : 0;
        SLM_UNROLL
        for (int c = 0; c < NEON_TOGETHER; c++) {
            s[c] = vmulq_n_f32(vld1q_f32(from + 4 * c), decay);
            s[c] = vfmaq_n_f32(s[c], d[c], k_i);
            o[c] = vfmaq_n_f32(o[c], s[c], q_i);
            if (has_next) {
                sum[c] = vfmaq_n_f32(sum[c], s[c], next);
            }
        }
        SLM_UNROLL
        for (int c = 0; c < NEON_TOGETHER; c++) {
            vst1q_f32(to + 4 * c, s[c]);
        }
    }
    SLM_UNROLL
    for (int c = 0; c < NEON_TOGETHER; c++) {
        vst1q_f32(job.o + token * job.o_stride + column + 4 * c, o[c]);
    }
}

/* A few columns through all tokens. */
static NEON ARM_INLINE void neon_delta_columns(struct kernel_delta_job job, int64_t column)
{
    float32x4_t sum[NEON_TOGETHER], d[NEON_TOGETHER];
    neon_delta_sum(job, column, sum);
    for (int64_t t = 0; t < job.n_token; t++) {
        const float *v = job.v + t * job.v_stride + column;
        const float32x4_t decay = vdupq_n_f32(job.gates[2 * t]);
        SLM_UNROLL
        for (int c = 0; c < NEON_TOGETHER; c++) {
            d[c] = vfmsq_f32(vld1q_f32(v + 4 * c), decay, sum[c]);
            d[c] = vmulq_n_f32(d[c], job.gates[2 * t + 1]);
        }
        if (t + 1 < job.n_token) {
            neon_delta_update(job, t, column, 1, d, sum);
        } else {
            neon_delta_update(job, t, column, 0, d, sum);
        }
    }
}

static NEON void neon_delta_net(const struct kernel_delta_job *job)
{
    int64_t column = 0;
    for (; column + 4 * NEON_TOGETHER <= job->n_value; column += 4 * NEON_TOGETHER) {
        neon_delta_columns(*job, column);
    }
    for (int64_t t = 0; column < job->n_value && t < job->n_token; t++) {
        ref_delta_columns(job, t, t == 0 ? job->from : job->to, column, job->n_value - column);
    }
}

/* ---- RWKV-7 ---------------------------------------------------------------------------------- */

/* Columns i.. of a step: n_vectors of four, or n of one. */
static NEON ARM_INLINE void neon_rwkv_columns(struct kernel_rwkv_step s, int64_t i, int n_vectors,
                                              int64_t n)
{
    float32x4_t old[NEON_TOGETHER], y[NEON_TOGETHER], v[NEON_TOGETHER], e[NEON_TOGETHER];
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        old[c] = y[c] = vdupq_n_f32(0);
        v[c] = neon_part(s.v + i + 4 * c, n);
    }
    for (int64_t j = 0; j < s.n; j++) {
        const float *row = s.state + j * s.n + i;
        float removal = s.removal[j];
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            old[c] = vfmaq_n_f32(old[c], neon_part(row + 4 * c, n), removal);
        }
    }
    for (int64_t j = 0; j < s.n; j++) {
        float *row = s.state + j * s.n + i;
        float decay = s.decay[j], insertion = s.insertion[j], k = s.k[j], r = s.r[j];
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            e[c] = vfmaq_n_f32(vmulq_n_f32(v[c], k), old[c], insertion);
            e[c] = vfmaq_n_f32(e[c], neon_part(row + 4 * c, n), decay);
            y[c] = vfmaq_n_f32(y[c], e[c], r);
        }
        SLM_UNROLL
        for (int c = 0; c < n_vectors; c++) {
            neon_store_part(row + 4 * c, e[c], n);
        }
    }
    SLM_UNROLL
    for (int c = 0; c < n_vectors; c++) {
        neon_store_part(s.y + i + 4 * c, y[c], n);
    }
}

static NEON void neon_rwkv_step(const struct kernel_rwkv_step *s)
{
    int64_t i = 0;
    for (; i + 4 * NEON_TOGETHER <= s->n; i += 4 * NEON_TOGETHER) {
        neon_rwkv_columns(*s, i, NEON_TOGETHER, 4);
    }
    for (; i < s->n; i += 4) {
        neon_rwkv_columns(*s, i, 1, s->n - i);
    }
}

#endif /* AArch64 */
