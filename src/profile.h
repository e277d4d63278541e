/* profile.h - what a build leaves out, so that firmware carries only the parts that its models need.
 *
 *     -DSLM_ONLY_FAMILIES -DSLM_FAMILY_llama ...      the names of src/arch/list.c, arch_ left off
 *     -DSLM_ONLY_ENCODINGS -DSLM_ENCODING_Q8_0 ...    the names of the table in kernels/ref.c; F32 and
 *                                                     F16 are always in
 *     -DSLM_ONLY_TOKENIZERS -DSLM_TOKENIZER_bpe ...   spm, bpe, wordpiece, unigram, rwkv
 *
 * A part is named in one row of a table, and nothing else leads to it: a row that is left out says
 * NULL by a constant expression, and the compiler drops what only that row led to. A mixer is in if a
 * family is that has it. */

/* 1 if x is a macro defined as 1 (-DNAME defines it so), else 0: an argument more comes in front. */
#define PROFILE_DEFINED(x) PROFILE_DEFINED_AS(x)
#define PROFILE_DEFINED_AS(x) PROFILE_SECOND(PROFILE_BEFORE_##x 1, 0, 0)
#define PROFILE_SECOND(...) PROFILE_SECOND_OF(__VA_ARGS__)
#define PROFILE_SECOND_OF(a, b, ...) b
#define PROFILE_BEFORE_1 0,

#if defined(SLM_ONLY_FAMILIES)
#define PROFILE_FAMILY(name) PROFILE_DEFINED(SLM_FAMILY_##name)
#define PROFILE_NO_FAMILY ", or was left out of this build"
#else
#define PROFILE_FAMILY(name) 1
#define PROFILE_NO_FAMILY ""
#endif

#define SLM_ENCODING_F32 1
#define SLM_ENCODING_F16 1
#if defined(SLM_ONLY_ENCODINGS)
#define PROFILE_ENCODING(name) PROFILE_DEFINED(SLM_ENCODING_##name)
#define PROFILE_NO_ENCODING ", or was left out of this build"
#else
#define PROFILE_ENCODING(name) 1
#define PROFILE_NO_ENCODING ""
#endif

#if defined(SLM_ONLY_TOKENIZERS)
#define PROFILE_TOKENIZER(name) PROFILE_DEFINED(SLM_TOKENIZER_##name)
#else
#define PROFILE_TOKENIZER(name) 1
#endif

/* ---- What the families need ------------------------------------------------------------------- */

#define PROFILE_SHORT_CONV (PROFILE_FAMILY(lfm2) || PROFILE_FAMILY(lfm2moe))
#define PROFILE_MAMBA PROFILE_FAMILY(mamba)
#define PROFILE_MAMBA2                                                                             \
    (PROFILE_FAMILY(mamba) || PROFILE_FAMILY(mamba2) || PROFILE_FAMILY(falcon_h1) ||               \
     PROFILE_FAMILY(granitehybrid) || PROFILE_FAMILY(nemotron_h))
#define PROFILE_DELTA_NET                                                                          \
    (PROFILE_FAMILY(qwen35) || PROFILE_FAMILY(qwen35moe) || PROFILE_FAMILY(qwen3next))
#define PROFILE_RWKV7 PROFILE_FAMILY(rwkv7)
#define PROFILE_ALTUP PROFILE_FAMILY(gemma3n)
#define PROFILE_PLE (PROFILE_FAMILY(gemma3n) || PROFILE_FAMILY(gemma4))
