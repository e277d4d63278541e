/* families.h - the families, a line each: what stands behind arch_, and what the family has that the
 * plain decoder has not. So a build of some families alone has no more than they need
 * (src/profile.h). A row that says too little makes such a build compute something else
 * (`make check-families` finds it); NEEDS_MORE is always right. */

#define NEEDS_EXPERTS 1u
#define NEEDS_SHORT_CONV 2u
#define NEEDS_MAMBA 4u
#define NEEDS_MAMBA2 8u
#define NEEDS_DELTA_NET 16u
#define NEEDS_RWKV7 32u
#define NEEDS_ALTUP 64u
#define NEEDS_PLE 128u
#define NEEDS_RECURRENT                                                                            \
    (NEEDS_SHORT_CONV | NEEDS_MAMBA | NEEDS_MAMBA2 | NEEDS_DELTA_NET | NEEDS_RWKV7)
/* Anything else that is not in src/arch/llama.c, but for norms of Q and K. */
#define NEEDS_MORE 256u

/* clang-format off */
#define ARCH_FAMILIES(X)                                        \
    X(llama, NEEDS_EXPERTS)                                     \
    X(qwen2, 0)                                                 \
    X(qwen3, 0)                                                 \
    X(gemma, NEEDS_MORE)                                        \
    X(gemma2, NEEDS_MORE)                                       \
    X(gemma3, NEEDS_MORE)                                       \
    X(gemma3n, NEEDS_ALTUP | NEEDS_PLE | NEEDS_MORE)            \
    X(gemma4, NEEDS_PLE | NEEDS_EXPERTS | NEEDS_MORE)           \
    X(phi3, NEEDS_MORE)                                         \
    X(phi2, NEEDS_MORE)                                         \
    X(granite, NEEDS_MORE)                                      \
    X(minicpm, NEEDS_MORE)                                      \
    X(minicpm3, NEEDS_MORE)                                     \
    X(internlm2, NEEDS_EXPERTS)                                 \
    X(ernie4_5, NEEDS_MORE)                                     \
    X(exaone, NEEDS_MORE)                                       \
    X(smollm3, NEEDS_EXPERTS)                                   \
    X(mistral3, NEEDS_MORE)                                     \
    X(olmo2, NEEDS_MORE)                                        \
    X(olmo, NEEDS_MORE)                                         \
    X(exaone4, NEEDS_MORE)                                      \
    X(cohere2, NEEDS_MORE)                                      \
    X(stablelm, NEEDS_MORE)                                     \
    X(starcoder2, NEEDS_MORE)                                   \
    X(gptneox, NEEDS_MORE)                                      \
    X(gpt2, NEEDS_MORE)                                         \
    X(nemotron, NEEDS_MORE)                                     \
    X(arcee, NEEDS_MORE)                                        \
    X(glm4, NEEDS_MORE)                                         \
    X(hunyuan_dense, NEEDS_MORE)                                \
    X(bitnet, NEEDS_MORE)                                       \
    X(qwen3moe, NEEDS_EXPERTS | NEEDS_MORE)                     \
    X(qwen2moe, NEEDS_EXPERTS | NEEDS_MORE)                     \
    X(granitemoe, NEEDS_EXPERTS | NEEDS_MORE)                   \
    X(olmoe, NEEDS_EXPERTS | NEEDS_MORE)                        \
    X(gpt_oss, NEEDS_EXPERTS | NEEDS_MORE)                      \
    X(lfm2, NEEDS_SHORT_CONV | NEEDS_EXPERTS | NEEDS_MORE)      \
    X(lfm2moe, NEEDS_SHORT_CONV | NEEDS_EXPERTS | NEEDS_MORE)   \
    X(mamba, NEEDS_MAMBA | NEEDS_MAMBA2 | NEEDS_MORE)           \
    X(mamba2, NEEDS_MAMBA2 | NEEDS_MORE)                        \
    X(granitehybrid, NEEDS_MAMBA2 | NEEDS_EXPERTS | NEEDS_MORE) \
    X(falcon_h1, NEEDS_MAMBA2 | NEEDS_MORE)                     \
    X(nemotron_h, NEEDS_MAMBA2 | NEEDS_MORE)                    \
    X(qwen35, NEEDS_DELTA_NET | NEEDS_EXPERTS | NEEDS_MORE)     \
    X(qwen35moe, NEEDS_DELTA_NET | NEEDS_EXPERTS | NEEDS_MORE)  \
    X(qwen3next, NEEDS_DELTA_NET | NEEDS_EXPERTS | NEEDS_MORE)  \
    X(rwkv7, NEEDS_RWKV7 | NEEDS_MORE)                          \
    X(bert, NEEDS_MORE)                                         \
    X(nomic_bert, NEEDS_EXPERTS | NEEDS_MORE)                   \
    X(nomic_bert_moe, NEEDS_EXPERTS | NEEDS_MORE)               \
    X(jina_bert_v2, NEEDS_MORE)                                 \
    X(modern_bert, NEEDS_MORE)                                  \
    X(gemma_embedding, NEEDS_MORE)                              \
    X(eurobert, NEEDS_MORE)
/* clang-format on */
