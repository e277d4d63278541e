/* slm.c - the one translation unit. Build:
 *
 *     cc -O2 -c slm.c
 *
 * Modules include nothing themselves: this file gives each what stands before it, so the order
 * below is the map of the program. Read it top to bottom and you have read the architecture. Nobody
 * edits it except to add a line. `make dist` expands it into one file. */

#include "slm.h"

#if defined(SLM_NO_FILE) && !defined(SLM_NO_FILES)
#define SLM_NO_FILES
#endif
#if defined(SLM_NO_CHAT) && !defined(SLM_NO_TOOLS)
#define SLM_NO_TOOLS
#endif
#if defined(SLM_NO_DOUBLE) && !defined(SLM_NO_CHAT)
#error "slm: SLM_NO_DOUBLE needs SLM_NO_CHAT: templates compute in double"
#endif
#if defined(SLM_NO_DOUBLE) && !defined(SLM_NO_SIMD)
#error "slm: SLM_NO_DOUBLE needs SLM_NO_SIMD: vector kernels compute in double"
#endif

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#if !defined(SLM_NO_MALLOC)
#include <stdlib.h>
#endif
#include <string.h>

/* The same sums on every compiler: no fused multiply-add unless written out. gcc has no pragma for
 * contraction and would fuse even separate intrinsics. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

/* The ground: errors, memory, numbers, the operating system, threads. */
#include "src/arch/families.h"
#include "src/profile.h"
#include "src/base.c"
#include "src/binary64.c"
#if defined(SLM_NO_DOUBLE)
#include "src/math_single.c"
#else
#include "src/math.c"
#endif
#include "src/platform.c"
#include "src/platform_cpus.c"
#include "src/threads.c"

/* Numbers in bulk: formats, the table of kernels, one file per instruction set. */
#include "kernels/kernels.h"
#include "kernels/blocks.c"
#include "kernels/ref.c"
#include "kernels/x86.h"
#include "kernels/x86_avx2_act.c"
#include "kernels/x86_avx2_codes.c"
#include "kernels/x86_avx2_int.c"
#include "kernels/x86_avx2_f32.c"
#include "kernels/x86_avx2_vectors.c"
#include "kernels/x86_avx2_delta.c"
#include "kernels/x86_avx2.c"
#include "kernels/x86_avx_vnni.c"
#include "kernels/x86_avx512_int.c"
#include "kernels/x86_avx512_vectors.c"
#include "kernels/x86_avx512_delta.c"
#include "kernels/x86_avx512_codes.c"
#include "kernels/x86_mixers.c"
#include "kernels/x86_activations.c"
#include "kernels/x86_amx.c"
#include "kernels/x86_amx_delta.c"
#include "kernels/arm.h"
#include "kernels/arm_neon_blocks.c"
#include "kernels/arm_neon_int.c"
#include "kernels/arm_neon_f32.c"
#include "kernels/arm_neon_vectors.c"
#include "kernels/arm_neon_mixers.c"
#include "kernels/arm_neon.c"
#include "kernels/wasm_simd.c"
#include "kernels/cpu.c"

/* The file, and text to tokens and back. */
#include "src/gguf.c"
#include "src/unicode.c"
#include "src/tokenizer/pretokenize.c"
#include "src/tokenizer/trie.c"
#include "src/tokenizer/vocab.c"
#include "src/tokenizer/special.c"
#include "src/tokenizer/words.c"
#include "src/tokenizer/spm.c"
#include "src/tokenizer/bpe.c"
#include "src/tokenizer/wpm.c"
#include "src/tokenizer/ugm.c"
#include "src/tokenizer/rwkv.c"
#include "src/tokenizer/tokenize.c"

#if !defined(SLM_NO_CHAT)
/* Chat templates: numbers, values, JSON, the language. */
#include "src/chat/decimal.c"
#include "src/chat/value.c"
#include "src/chat/json.c"
#include "src/chat/lex.c"
#include "src/chat/parse.c"
#include "src/chat/statements.c"
#include "src/chat/text.c"
#include "src/chat/format.c"
#include "src/chat/engine.h"
#include "src/chat/methods.c"
#include "src/chat/filters.c"
#include "src/chat/globals.c"
#include "src/chat/operators.c"
#include "src/chat/eval.c"
#endif

/* What a family is, what its keys say, and the families. */
#include "src/arch.h"
#include "src/config.c"
#include "src/arch/llama.c"
#include "src/arch/qwen2.c"
#include "src/arch/qwen3.c"
#include "src/arch/gemma.c"
#include "src/arch/gemma2.c"
#include "src/arch/gemma3.c"
#include "src/arch/gemma3n.c"
#include "src/arch/gemma4.c"
#include "src/arch/phi3.c"
#include "src/arch/phi2.c"
#include "src/arch/granite.c"
#include "src/arch/minicpm.c"
#include "src/arch/minicpm3.c"
#include "src/arch/internlm2.c"
#include "src/arch/ernie4_5.c"
#include "src/arch/exaone.c"
#include "src/arch/smollm3.c"
#include "src/arch/mistral3.c"
#include "src/arch/olmo2.c"
#include "src/arch/olmo.c"
#include "src/arch/exaone4.c"
#include "src/arch/cohere2.c"
#include "src/arch/stablelm.c"
#include "src/arch/starcoder2.c"
#include "src/arch/gptneox.c"
#include "src/arch/gpt2.c"
#include "src/arch/nemotron.c"
#include "src/arch/arcee.c"
#include "src/arch/glm4.c"
#include "src/arch/hunyuan_dense.c"
#include "src/arch/bitnet.c"
#include "src/arch/qwen3moe.c"
#include "src/arch/qwen2moe.c"
#include "src/arch/granitemoe.c"
#include "src/arch/olmoe.c"
#include "src/arch/gpt_oss.c"
#include "src/arch/lfm2.c"
#include "src/arch/mamba.c"
#include "src/arch/mamba2.c"
#include "src/arch/granitehybrid.c"
#include "src/arch/falcon_h1.c"
#include "src/arch/nemotron_h.c"
#include "src/arch/qwen35.c"
#include "src/arch/qwen3next.c"
#include "src/arch/rwkv7.c"
#include "src/arch/bert.c"
#include "src/arch/nomic_bert.c"
#include "src/arch/jina_bert_v2.c"
#include "src/arch/modern_bert.c"
#include "src/arch/gemma_embedding.c"
#include "src/arch/eurobert.c"
#include "src/arch/list.c"

/* A model and what it can be made of. */
#include "src/rope.c"
#include "src/model.h"
#include "src/bind.c"
#include "src/model.c"
#include "src/cache.c"
#include "src/states.c"
#include "src/context.c"
#include "src/mixer/norm.c"
#include "src/mixer/matmul.c"
#include "src/mixer/attention.c"
#include "src/mixer/latent.c"
#include "src/mixer/shift.c"
#include "src/mixer/ffn.c"
#include "src/mixer/experts.c"
#include "src/mixer/conv.c"
#include "src/mixer/shortconv.c"
#include "src/mixer/mamba.c"
#include "src/mixer/mamba2.c"
#include "src/mixer/delta_net.c"
#include "src/mixer/rwkv7.c"
#include "src/mixer/recurrent.c"
#include "src/mixer/altup.c"
#include "src/mixer/laurel.c"
#include "src/mixer/ple.c"
#include "src/forward.c"
#include "src/embed.c"

/* From logits to text. */
#include "src/sampler.h"
#include "src/sampler_stages.c"
#include "src/sampler_dry.c"
#include "src/sampler.c"
#if defined(SLM_NO_TOOLS)
#include "src/no_output.c"
#else
#include "src/chat/output_styles.c"
#include "src/chat/output_scan.c"
#endif
#include "src/heal.c"
#include "src/generate.c"
#if defined(SLM_NO_CHAT)
#include "src/no_chat.c"
#else
#include "src/chat/builtin.c"
#include "src/chat/chat.c"
#endif
#if !defined(SLM_NO_TOOLS)
#include "src/chat/output_calls.c"
#include "src/chat/output.c"
#include "src/chat/output_probe.c"
#endif

/* The public functions: check arguments, then one call down. */
#include "src/api.c"
#if !defined(SLM_NO_CHAT)
#include "src/api_chat.c"
#endif
#if !defined(SLM_NO_TOOLS)
#include "src/api_output.c"
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
