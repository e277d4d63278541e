/* latent.c - Q, K and V of latent attention (DeepSeek-AI 2024), written out in full:
 *
 *     Q = attn_q norm(latent_q n)                                   n = norm(x, attn_norm)
 *     of each head [K but its end, V] = attn_kv norm(latent_kv n),  end of K = latent_k_rope n
 *
 * The end of K, the elements that are rotated, is the same in every head. The cache holds K and V as
 * for any other attention. */

/* K and V of a token from what the products gave. */
static void latent_heads(void *arg, int32_t token, int32_t part)
{
    const struct attention_run *r = (const struct attention_run *)arg;
    const struct slm_context *c = r->c;
    const struct hparams *h = &c->model->hparams;
    int64_t n_head = r->l->n_head;
    int64_t n_plain = r->l->head_dim - h->n_rot;
    int64_t n_pair = n_plain + r->l->head_dim_v;
    const float *end = c->k_rope + (int64_t)token * h->n_rot;
    (void)part;
    for (int64_t i = token * n_head; i < (token + 1) * n_head; i++) {
        const float *kv = c->kv + i * n_pair;
        float *k = c->k + i * r->l->head_dim;
        memcpy(k, kv, (size_t)n_plain * sizeof(float));
        memcpy(k + n_plain, end, (size_t)h->n_rot * sizeof(float));
        memcpy(c->v + i * r->l->head_dim_v, kv + n_plain, (size_t)r->l->head_dim_v * sizeof(float));
    }
}

static void latent_qkv(struct slm_context *c, const struct layer *l)
{
    const struct hparams *h = &c->model->hparams;
    int32_t n = c->batch.n_tokens;
    struct matmul_input in = {c->x, ACT_NONE, NULL, &l->attn_norm, h->n_embd, n};
    struct matmul_job down[3] = {
        {&l->latent_q, c->latent_q, h->n_q_rank, NULL, 1},
        {&l->latent_kv, c->latent_kv, h->n_kv_rank, NULL, 1},
        {&l->latent_k_rope, c->k_rope, h->n_rot, NULL, 1},
    };
    struct matmul_input q_in = {c->latent_q, ACT_NONE, NULL, &l->latent_q_norm, h->n_q_rank, n};
    struct matmul_job q = {&l->attn_q, c->q, l->attn_q.n_out, NULL, 1};
    struct matmul_input kv_in = {c->latent_kv, ACT_NONE, NULL, &l->latent_kv_norm, h->n_kv_rank, n};
    struct matmul_job kv = {&l->attn_kv, c->kv, l->attn_kv.n_out, NULL, 1};
    struct attention_run r = {c, l, 0, 0, 0, 0};
    matmul(c, &in, down, 3);
    matmul(c, &q_in, &q, 1);
    matmul(c, &kv_in, &kv, 1);
    context_tiles(c, n * l->attn_kv.n_out, n, latent_heads, &r);
}
