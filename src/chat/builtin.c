/* builtin.c - templates for files that bring none, by name: the forms that families of models agree
 * on. Who knows better gives slm_chat_template_create a text of his own. */

#define BUILTIN_SYSTEM_FIRST                                                                       \
    "{%- if messages and messages[0].role == 'system' -%}"                                         \
    "{%- set system = messages[0].content -%}{%- set messages = messages[1:] -%}"                  \
    "{%- endif -%}"

static const struct builtin {
    const char *name;
    const char *text;
} builtin_table[] = {
    {"chatml", "{%- for m in messages -%}"
               "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
               "{%- endfor -%}"
               "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"},
    {"gemma", "{{ bos_token }}" BUILTIN_SYSTEM_FIRST "{%- for m in messages -%}"
              "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
              "{%- if loop.first and system is defined -%}{{ system + '\\n\\n' }}{%- endif -%}"
              "{{ m.content | trim + '<end_of_turn>\\n' }}"
              "{%- endfor -%}"
              "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"},
    {"llama2",
     BUILTIN_SYSTEM_FIRST "{%- for m in messages -%}"
                          "{%- if m.role == 'user' -%}"
                          "{{ bos_token + '[INST] ' }}"
                          "{%- if loop.first and system is defined -%}"
                          "{{ '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' }}"
                          "{%- endif -%}"
                          "{{ m.content | trim + ' [/INST]' }}"
                          "{%- else -%}{{ ' ' + m.content | trim + ' ' + eos_token }}{%- endif -%}"
                          "{%- endfor -%}"},
    {"llama3", "{{ bos_token }}"
               "{%- for m in messages -%}"
               "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}"
               "{{ m.content | trim + '<|eot_id|>' }}"
               "{%- endfor -%}"
               "{%- if add_generation_prompt -%}"
               "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
               "{%- endif -%}"},
    {"mistral", "{{ bos_token }}" BUILTIN_SYSTEM_FIRST "{%- for m in messages -%}"
                "{%- if m.role == 'user' -%}"
                "{{ '[INST] ' }}"
                "{%- if loop.first and system is defined -%}{{ system + '\\n\\n' }}{%- endif -%}"
                "{{ m.content + ' [/INST]' }}"
                "{%- else -%}{{ ' ' + m.content | trim + eos_token }}{%- endif -%}"
                "{%- endfor -%}"},
    {"phi3", "{%- for m in messages -%}"
             "{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}"
             "{%- endfor -%}"
             "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}"
             "{%- else -%}{{ eos_token }}{%- endif -%}"},
    {"vicuna", BUILTIN_SYSTEM_FIRST
     "{{ bos_token }}"
     "{%- if system is defined -%}{{ system + '\\n\\n' }}{%- endif -%}"
     "{%- for m in messages -%}"
     "{%- if m.role == 'user' -%}{{ 'USER: ' + m.content + '\\n' }}"
     "{%- else -%}{{ 'ASSISTANT: ' + m.content + eos_token + '\\n' }}{%- endif -%}"
     "{%- endfor -%}"
     "{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"},
    {"zephyr", "{%- for m in messages -%}"
               "{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}"
               "{%- endfor -%}"
               "{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}"},
};
