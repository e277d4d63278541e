/* list.c - the families, a line each. */

static const struct slm_arch *const arch_list[] = {
    &arch_llama,
    &arch_qwen2,
    &arch_qwen3,
};

static const struct slm_arch *arch_find(struct text name)
{
    for (int32_t i = 0; i < SLM_COUNT(arch_list); i++) {
        if (text_is(name, arch_list[i]->name)) {
            return arch_list[i];
        }
    }
    return NULL;
}
