/* list.c - the families, a line each. */

/* clang-format off */
static const struct slm_arch *const arch_list[] = {
    &arch_llama,
    &arch_qwen2,
    &arch_qwen3,
    &arch_gemma,
    &arch_gemma2,
    &arch_gemma3,
    &arch_gemma3n,
    &arch_gemma4,
    &arch_phi3,
    &arch_phi2,
    &arch_granite,
    &arch_minicpm,
    &arch_minicpm3,
    &arch_internlm2,
    &arch_ernie4_5,
    &arch_exaone,
    &arch_smollm3,
    &arch_mistral3,
    &arch_olmo2,
    &arch_olmo,
    &arch_exaone4,
    &arch_cohere2,
    &arch_stablelm,
    &arch_starcoder2,
    &arch_gptneox,
    &arch_gpt2,
    &arch_nemotron,
    &arch_arcee,
    &arch_glm4,
    &arch_hunyuan_dense,
    &arch_bitnet,
    &arch_qwen3moe,
    &arch_qwen2moe,
    &arch_granitemoe,
    &arch_olmoe,
    &arch_gpt_oss,
    &arch_lfm2,
    &arch_lfm2moe,
    &arch_mamba,
    &arch_mamba2,
    &arch_granitehybrid,
    &arch_falcon_h1,
    &arch_nemotron_h,
    &arch_qwen35,
    &arch_qwen35moe,
    &arch_qwen3next,
    &arch_rwkv7,
    &arch_bert,
    &arch_nomic_bert,
    &arch_nomic_bert_moe,
    &arch_jina_bert_v2,
    &arch_modern_bert,
    &arch_gemma_embedding,
    &arch_eurobert,
};
/* clang-format on */

static const struct slm_arch *arch_find(struct text name)
{
    for (int32_t i = 0; i < SLM_COUNT(arch_list); i++) {
        if (text_is(name, arch_list[i]->name)) {
            return arch_list[i];
        }
    }
    return NULL;
}
