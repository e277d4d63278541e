/* list.c - the families, a line each. */

#define ARCH_ROW(name) (PROFILE_FAMILY(name) ? &arch_##name : NULL)

/* clang-format off */
static const struct slm_arch *const arch_list[] = {
    ARCH_ROW(llama),
    ARCH_ROW(qwen2),
    ARCH_ROW(qwen3),
    ARCH_ROW(gemma),
    ARCH_ROW(gemma2),
    ARCH_ROW(gemma3),
    ARCH_ROW(gemma3n),
    ARCH_ROW(gemma4),
    ARCH_ROW(phi3),
    ARCH_ROW(phi2),
    ARCH_ROW(granite),
    ARCH_ROW(minicpm),
    ARCH_ROW(minicpm3),
    ARCH_ROW(internlm2),
    ARCH_ROW(ernie4_5),
    ARCH_ROW(exaone),
    ARCH_ROW(smollm3),
    ARCH_ROW(mistral3),
    ARCH_ROW(olmo2),
    ARCH_ROW(olmo),
    ARCH_ROW(exaone4),
    ARCH_ROW(cohere2),
    ARCH_ROW(stablelm),
    ARCH_ROW(starcoder2),
    ARCH_ROW(gptneox),
    ARCH_ROW(gpt2),
    ARCH_ROW(nemotron),
    ARCH_ROW(arcee),
    ARCH_ROW(glm4),
    ARCH_ROW(hunyuan_dense),
    ARCH_ROW(bitnet),
    ARCH_ROW(qwen3moe),
    ARCH_ROW(qwen2moe),
    ARCH_ROW(granitemoe),
    ARCH_ROW(olmoe),
    ARCH_ROW(gpt_oss),
    ARCH_ROW(lfm2),
    ARCH_ROW(lfm2moe),
    ARCH_ROW(mamba),
    ARCH_ROW(mamba2),
    ARCH_ROW(granitehybrid),
    ARCH_ROW(falcon_h1),
    ARCH_ROW(nemotron_h),
    ARCH_ROW(qwen35),
    ARCH_ROW(qwen35moe),
    ARCH_ROW(qwen3next),
    ARCH_ROW(rwkv7),
    ARCH_ROW(bert),
    ARCH_ROW(nomic_bert),
    ARCH_ROW(nomic_bert_moe),
    ARCH_ROW(jina_bert_v2),
    ARCH_ROW(modern_bert),
    ARCH_ROW(gemma_embedding),
    ARCH_ROW(eurobert),
};
/* clang-format on */

#undef ARCH_ROW

static const struct slm_arch *arch_find(struct text name)
{
    for (int32_t i = 0; i < SLM_COUNT(arch_list); i++) {
        if (arch_list[i] != NULL && text_is(name, arch_list[i]->name)) {
            return arch_list[i];
        }
    }
    return NULL;
}
