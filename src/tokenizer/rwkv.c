/* rwkv.c - the tokenizer of RWKV's World models: the longest token, from left to right. Tokens are
 * bytes, written in the file as Python writes them. */

/* The byte at s, and how many of the n >= 1 characters stand for it: \t, \n, \r, \x1F, and behind
 * any other backslash the character itself. */
static int rwkv_unescape(const uint8_t *s, size_t n, size_t *size)
{
    *size = 1;
    if (s[0] != '\\' || n < 2) {
        return s[0];
    }
    *size = 2;
    if (s[1] == 'x' && n >= 4 && vocab_hex_digit(s[2]) >= 0 && vocab_hex_digit(s[3]) >= 0) {
        *size = 4;
        return vocab_hex_digit(s[2]) * 16 + vocab_hex_digit(s[3]);
    }
    return s[1] == 't' ? '\t' : s[1] == 'n' ? '\n' : s[1] == 'r' ? '\r' : s[1];
}

static int rwkv_encode(struct encoder *e, struct text fragment, slm_error *err)
{
    const uint8_t *s = (const uint8_t *)fragment.s;
    for (size_t at = 0; at < fragment.n;) {
        size_t size = 1;
        int32_t token = trie_longest(&e->v->trie, s, at, fragment.n, &size);
        token = token >= 0 ? token : e->v->unk;
        if (token >= 0) {
            SLM_TRY(encoder_push(e, token, err));
        }
        at += size;
    }
    return SLM_OK;
}

static int rwkv_add_tokens(const struct vocab *v, struct trie_builder *b, uint8_t *bytes,
                           slm_error *err)
{
    for (int32_t i = 0; i < v->n_token; i++) {
        struct text t = vocab_text(v, i);
        size_t n = 0;
        for (size_t at = 0, size = 1; at < t.n; at += size) {
            bytes[n++] = (uint8_t)rwkv_unescape((const uint8_t *)t.s + at, t.n - at, &size);
        }
        if ((v->attributes[i] & (TOKEN_NORMAL | TOKEN_USER | TOKEN_BYTE)) != 0) {
            SLM_TRY(trie_add(b, bytes, n, i, err));
        }
    }
    return SLM_OK;
}

static int rwkv_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    struct trie_builder b;
    (void)g;
    uint8_t *bytes = (uint8_t *)memory_take(m, v->text_max);
    if (bytes == NULL) {
        return memory_error(m, v->text_max, "a token", err);
    }
    int status = trie_begin(&b, m, err);
    status = status == SLM_OK ? rwkv_add_tokens(v, &b, bytes, err) : status;
    memory_give(m, bytes, v->text_max);
    if (status != SLM_OK) {
        trie_drop(&b);
        return status;
    }
    return trie_finish(&v->trie, &b, err);
}
