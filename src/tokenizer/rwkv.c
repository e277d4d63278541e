/* rwkv.c - the tokenizer of RWKV's World models: the longest token, from left to right. Tokens are
 * bytes, written in the file as Python writes them. */

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

static int rwkv_load(struct vocab *v, const struct gguf *g, struct memory *m, slm_error *err)
{
    (void)g;
    return vocab_load_trie(v, TOKEN_NORMAL | TOKEN_USER | TOKEN_BYTE, m, err);
}
