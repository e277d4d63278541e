/* list.c - finding a family by its name. */

#define ARCH_ROW(name, needs) PROFILE_FAMILY(name) ? &arch_##name : NULL,
static const struct slm_arch *const arch_list[] = {ARCH_FAMILIES(ARCH_ROW)};
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
