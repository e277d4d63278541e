/* profile.h - what a build leaves out, so that firmware carries only the parts that its models need.
 *
 *     -DSLM_ONLY_FAMILIES -DSLM_FAMILY_llama ...      the names of src/arch/families.h
 *     -DSLM_ONLY_ENCODINGS -DSLM_ENCODING_Q8_0 ...    the names of the table in kernels/ref.c; F32 and
 *                                                     F16 are always in
 *     -DSLM_ONLY_TOKENIZERS -DSLM_TOKENIZER_bpe ...   spm, bpe, wordpiece, unigram, rwkv
 *     -DSLM_ONLY_PRETOKENIZERS -DSLM_PRETOKENIZER_gpt2 ...    the groups of the table in
 *                                                     src/tokenizer/pretokenize.c
 *     -DSLM_ONLY_STAGES -DSLM_STAGE_temperature ...   the names of the table in src/sampler.c
 *     -DSLM_NO_TOOLS, _EMBED, _EXPERTS, _HEAL, _CHECK, _SPLIT, _LISTS and -DSLM_SMALL: see slm.h
 *
 * A part is named in one row of a table, and nothing else leads to it: a row that is left out says
 * NULL by a constant expression, and the compiler drops what only that row led to. A mixer is in if a
 * family is that has it. Functions ask `if (PROFILE_X && ...)`, which is a constant. */

/* 1 if x is a macro defined as 1 (-DNAME defines it so) or as nothing, else 0: an argument more comes
 * in front. */
#define PROFILE_DEFINED(x) PROFILE_DEFINED_AS(x)
#define PROFILE_DEFINED_AS(x) PROFILE_SECOND(PROFILE_BEFORE_##x 1, 0, 0)
#define PROFILE_SECOND(...) PROFILE_SECOND_OF(__VA_ARGS__)
#define PROFILE_SECOND_OF(a, b, ...) b
#define PROFILE_BEFORE_1 0,
#define PROFILE_BEFORE_ 0, /* #define NAME, with nothing behind it */

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

#if defined(SLM_ONLY_PRETOKENIZERS)
#define PROFILE_PRETOKENIZER(name) PROFILE_DEFINED(SLM_PRETOKENIZER_##name)
#else
#define PROFILE_PRETOKENIZER(name) 1
#endif

#if defined(SLM_ONLY_STAGES)
#define PROFILE_STAGE(name) PROFILE_DEFINED(SLM_STAGE_##name)
#else
#define PROFILE_STAGE(name) 1
#endif

#if defined(SLM_NO_EXPERTS)
#define PROFILE_NO_EXPERTS ": experts were left out of this build (SLM_NO_EXPERTS)"
#else
#define PROFILE_NO_EXPERTS ""
#endif

#define PROFILE_EMBED (!PROFILE_DEFINED(SLM_NO_EMBED))
#define PROFILE_CHECK (!PROFILE_DEFINED(SLM_NO_CHECK))
#define PROFILE_LISTS (!PROFILE_DEFINED(SLM_NO_LISTS))
#define PROFILE_SPLIT (!PROFILE_DEFINED(SLM_NO_SPLIT))
#define PROFILE_HEAL (!PROFILE_DEFINED(SLM_NO_HEAL))
#define PROFILE_FILES (!PROFILE_DEFINED(SLM_NO_FILES))
#define PROFILE_CHAT (!PROFILE_DEFINED(SLM_NO_CHAT))
#define PROFILE_TOOLS (!PROFILE_DEFINED(SLM_NO_TOOLS))
#define PROFILE_SMALL PROFILE_DEFINED(SLM_SMALL)

/* ---- What the families need ------------------------------------------------------------------- */

#define PROFILE_ROW_NEEDS(name, needs) | (PROFILE_FAMILY(name) ? (needs) : 0u)
enum {
    PROFILE_NEEDS = 0u ARCH_FAMILIES(PROFILE_ROW_NEEDS)
};
#define PROFILE_HAS(what) ((PROFILE_NEEDS & (what)) != 0)

#define PROFILE_SHORT_CONV PROFILE_HAS(NEEDS_SHORT_CONV)
#define PROFILE_MAMBA PROFILE_HAS(NEEDS_MAMBA)
#define PROFILE_MAMBA2 PROFILE_HAS(NEEDS_MAMBA2)
#define PROFILE_DELTA_NET PROFILE_HAS(NEEDS_DELTA_NET)
#define PROFILE_RWKV7 PROFILE_HAS(NEEDS_RWKV7)
#define PROFILE_RECURRENT PROFILE_HAS(NEEDS_RECURRENT)
#define PROFILE_ALTUP PROFILE_HAS(NEEDS_ALTUP)
#define PROFILE_PLE PROFILE_HAS(NEEDS_PLE)
#define PROFILE_EXPERTS (PROFILE_HAS(NEEDS_EXPERTS) && !PROFILE_DEFINED(SLM_NO_EXPERTS))
#define PROFILE_MORE PROFILE_HAS(NEEDS_MORE)
