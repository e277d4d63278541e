"""slm.h as `make python-layout` read it: see tests/layout.awk."""
LAYOUT = """\
const SLM_ABI 1
const SLM_OK 0
const SLM_E_ARGUMENT -1
const SLM_E_MEMORY -2
const SLM_E_IO -3
const SLM_E_FORMAT -4
const SLM_E_MODEL -5
const SLM_E_UNSUPPORTED -6
const SLM_E_SPACE -7
const SLM_E_FULL -8
const SLM_E_CANCELLED -9
const SLM_E_DEADLINE -10
const SLM_E_BUSY -11
const SLM_E_FORKED -12
const SLM_E_NUMERIC -13
const SLM_E_THREAD -14
const SLM_E_TEMPLATE -15
const SLM_NO_DEADLINE 9223372036854775807
const SLM_LOG_INFO 1
const SLM_LOG_WARN 2
const SLM_CPU_AVX2 1
const SLM_CPU_AVX_VNNI 2
const SLM_CPU_AVX512 4
const SLM_CPU_AVX512_VNNI 8
const SLM_CPU_AVX512_BF16 16
const SLM_CPU_AMX_INT8 32
const SLM_CPU_AMX_BF16 64
const SLM_CPU_NEON 65536
const SLM_CPU_DOTPROD 131072
const SLM_CPU_I8MM 262144
const SLM_CPU_SIMD128 16777216
const SLM_CPU_ALL 18446744073709551615
const SLM_LOAD_READ 1
const SLM_LOAD_METADATA 2
const SLM_LOAD_CHECK 4
const SLM_LOAD_SURPLUS 8
const SLM_PRE_NONE 0
const SLM_PRE_KNOWN 1
const SLM_PRE_MISSING 2
const SLM_PRE_UNKNOWN 3
const SLM_TYPE_UINT8 0
const SLM_TYPE_INT8 1
const SLM_TYPE_UINT16 2
const SLM_TYPE_INT16 3
const SLM_TYPE_UINT32 4
const SLM_TYPE_INT32 5
const SLM_TYPE_FLOAT32 6
const SLM_TYPE_BOOL 7
const SLM_TYPE_STRING 8
const SLM_TYPE_ARRAY 9
const SLM_TYPE_UINT64 10
const SLM_TYPE_INT64 11
const SLM_TYPE_FLOAT64 12
const SLM_TEXT_BOS 1
const SLM_TEXT_SPECIAL 2
const SLM_TEXT_CLEAN 4
const SLM_TOKEN_NORMAL 1
const SLM_TOKEN_UNKNOWN 2
const SLM_TOKEN_CONTROL 3
const SLM_TOKEN_USER 4
const SLM_TOKEN_UNUSED 5
const SLM_TOKEN_BYTE 6
const SLM_NO_DATE -9223372036854775808
const SLM_SEGMENT_TEMPLATE 1
const SLM_SEGMENT_CONTENT 2
const SLM_CHAT_NONE 0
const SLM_CHAT_REASONING 1
const SLM_CHAT_ANSWER 2
const SLM_CHAT_TOOL_CALL 3
const SLM_CHAT_END 4
const SLM_AUTO -1
const SLM_KV_F16 0
const SLM_KV_F32 1
const SLM_CONTEXT_EXACT 1
const SLM_CONTEXT_BATCH_INVARIANT 2
const SLM_WANT_NONE 0
const SLM_WANT_LAST 1
const SLM_WANT_ALL 2
const SLM_POOLING_NONE 0
const SLM_POOLING_MEAN 1
const SLM_POOLING_CLS 2
const SLM_POOLING_LAST 3
const SLM_POOLING_RANK 4
const SLM_NORMALIZE_EUCLIDEAN 0
const SLM_NORMALIZE_NONE 1
const SLM_STAGE_TEMPERATURE 1
const SLM_STAGE_TOP_K 2
const SLM_STAGE_TOP_P 3
const SLM_STAGE_MIN_P 4
const SLM_STAGE_PENALTIES 5
const SLM_STAGE_LOGIT_BIAS 6
const SLM_REWIND_MAX 1024
const SLM_PIECE_TEXT 1
const SLM_PIECE_END 2
const SLM_PIECE_SPECIAL 3
const SLM_END_TOKEN 1
const SLM_END_STOP 2
const SLM_END_LIMIT 3
const SLM_END_FULL 4
struct slm_error 256
field slm_error.code 0 4 int32_t
field slm_error.reserved 4 4 uint32_t
field slm_error.position 8 8 int64_t
field slm_error.message 16 240 char[240]
function slm_version 0 int32_t
function slm_status_name 1 const_char* int
function slm_clock_ns 0 int64_t
callback slm_alloc_fn 5 void* void* void* size_t size_t size_t
callback slm_log_fn 3 void void* int32_t const_char*
callback slm_progress_fn 3 int32_t void* uint64_t uint64_t
callback slm_read_fn 5 int64_t void* int32_t uint64_t void* size_t
function slm_cpu_features 0 uint64_t
function slm_cpu_feature_name 1 const_char* int32_t
struct slm_encoding_info 24
field slm_encoding_info.struct_size 0 4 uint32_t
field slm_encoding_info.id 4 4 int32_t
field slm_encoding_info.name 8 8 const_char*
field slm_encoding_info.block_elements 16 4 int32_t
field slm_encoding_info.block_bytes 20 4 int32_t
function slm_encoding_find 4 int int32_t const_char* slm_encoding_info* slm_error*
opaque slm_model
struct slm_model_options 80
field slm_model_options.struct_size 0 4 uint32_t
field slm_model_options.flags 4 4 uint32_t
field slm_model_options.alloc 8 8 slm_alloc_fn
field slm_model_options.alloc_user 16 8 void*
field slm_model_options.log 24 8 slm_log_fn
field slm_model_options.log_user 32 8 void*
field slm_model_options.progress 40 8 slm_progress_fn
field slm_model_options.progress_user 48 8 void*
field slm_model_options.cancel 56 8 const_int32_t*
field slm_model_options.max_bytes 64 8 uint64_t
field slm_model_options.cpu 72 8 uint64_t
function slm_model_options_init 2 int slm_model_options* size_t
function slm_model_open 4 int slm_model** const_char* const_slm_model_options* slm_error*
function slm_model_open_memory 6 int slm_model** const_void*const* const_size_t* int32_t const_slm_model_options* slm_error*
function slm_model_open_callback 7 int slm_model** slm_read_fn void* const_uint64_t* int32_t const_slm_model_options* slm_error*
function slm_model_free 1 void slm_model*
struct slm_model_info 240
field slm_model_info.struct_size 0 4 uint32_t
field slm_model_info.n_vocab 4 4 int32_t
field slm_model_info.n_ctx_train 8 4 int32_t
field slm_model_info.n_embd 12 4 int32_t
field slm_model_info.n_layer 16 4 int32_t
field slm_model_info.n_head 20 4 int32_t
field slm_model_info.n_kv_head 24 4 int32_t
field slm_model_info.head_dim 28 4 int32_t
field slm_model_info.n_ff 32 4 int32_t
field slm_model_info.bos_token 36 4 int32_t
field slm_model_info.eos_token 40 4 int32_t
field slm_model_info.eot_token 44 4 int32_t
field slm_model_info.unk_token 48 4 int32_t
field slm_model_info.pad_token 52 4 int32_t
field slm_model_info.add_bos 56 4 int32_t
field slm_model_info.add_eos 60 4 int32_t
field slm_model_info.n_metadata 64 4 int32_t
field slm_model_info.n_tensors 68 4 int32_t
field slm_model_info.file_type 72 4 int32_t
field slm_model_info.gguf_version 76 4 int32_t
field slm_model_info.family 80 8 const_char*
field slm_model_info.name 88 8 const_char*
field slm_model_info.tokenizer 96 8 const_char*
field slm_model_info.isa 104 8 const_char*
field slm_model_info.chat_template 112 8 const_char*
field slm_model_info.n_parameters 120 8 uint64_t
field slm_model_info.weight_bytes 128 8 uint64_t
field slm_model_info.mapped_bytes 136 8 uint64_t
field slm_model_info.heap_bytes 144 8 uint64_t
field slm_model_info.heap_peak_bytes 152 8 uint64_t
field slm_model_info.cpu 160 8 uint64_t
field slm_model_info.is_causal 168 4 int32_t
field slm_model_info.pooling 172 4 int32_t
field slm_model_info.n_embd_out 176 4 int32_t
field slm_model_info.n_outputs 180 4 int32_t
field slm_model_info.sep_token 184 4 int32_t
field slm_model_info.add_sep 188 4 int32_t
field slm_model_info.is_recurrent 192 4 int32_t
field slm_model_info.pre_status 196 4 int32_t
field slm_model_info.pre 200 8 const_char*
field slm_model_info.eom_token 208 4 int32_t
field slm_model_info.mask_token 212 4 int32_t
field slm_model_info.fim_pre_token 216 4 int32_t
field slm_model_info.fim_suf_token 220 4 int32_t
field slm_model_info.fim_mid_token 224 4 int32_t
field slm_model_info.fim_pad_token 228 4 int32_t
field slm_model_info.fim_rep_token 232 4 int32_t
field slm_model_info.fim_sep_token 236 4 int32_t
function slm_model_get_info 3 int const_slm_model* slm_model_info* slm_error*
struct slm_metadata 88
field slm_metadata.struct_size 0 4 uint32_t
field slm_metadata.value_type 4 4 int32_t
field slm_metadata.is_array 8 4 int32_t
field slm_metadata.reserved 12 4 int32_t
field slm_metadata.count 16 8 uint64_t
field slm_metadata.key 24 8 const_char*
field slm_metadata.key_size 32 8 size_t
field slm_metadata.integer 40 8 int64_t
field slm_metadata.real 48 8 double
field slm_metadata.text 56 8 const_char*
field slm_metadata.text_size 64 8 size_t
field slm_metadata.data 72 8 const_void*
field slm_metadata.data_size 80 8 size_t
function slm_model_metadata 5 int const_slm_model* int32_t uint64_t slm_metadata* slm_error*
function slm_model_metadata_find 5 int const_slm_model* const_char* size_t int32_t* slm_error*
struct slm_tensor_info 88
field slm_tensor_info.struct_size 0 4 uint32_t
field slm_tensor_info.encoding 4 4 int32_t
field slm_tensor_info.name 8 8 const_char*
field slm_tensor_info.name_size 16 8 size_t
field slm_tensor_info.encoding_name 24 8 const_char*
field slm_tensor_info.shape 32 32 int64_t[4]
field slm_tensor_info.n_dims 64 4 int32_t
field slm_tensor_info.file 68 4 int32_t
field slm_tensor_info.offset 72 8 uint64_t
field slm_tensor_info.size 80 8 uint64_t
function slm_model_tensor 4 int const_slm_model* int32_t slm_tensor_info* slm_error*
function slm_tokenize 8 int const_slm_model* const_char* size_t uint32_t int32_t* size_t size_t* slm_error*
function slm_detokenize 8 int const_slm_model* const_int32_t* size_t uint32_t char* size_t size_t* slm_error*
struct slm_text_stream 64
field slm_text_stream.state 0 64 uint8_t[64]
function slm_decode_token 8 int const_slm_model* slm_text_stream* int32_t uint32_t char* size_t size_t* slm_error*
struct slm_token_info 32
field slm_token_info.struct_size 0 4 uint32_t
field slm_token_info.kind 4 4 int32_t
field slm_token_info.is_end 8 4 int32_t
field slm_token_info.score 12 4 float
field slm_token_info.text 16 8 const_char*
field slm_token_info.text_size 24 8 size_t
function slm_token_get_info 4 int const_slm_model* int32_t slm_token_info* slm_error*
function slm_token_find 5 int const_slm_model* const_char* size_t int32_t* slm_error*
opaque slm_chat_template
opaque slm_chat_prompt
struct slm_chat_template_options 48
field slm_chat_template_options.struct_size 0 4 uint32_t
field slm_chat_template_options.reserved 4 4 int32_t
field slm_chat_template_options.bos_token 8 8 const_char*
field slm_chat_template_options.eos_token 16 8 const_char*
field slm_chat_template_options.alloc 24 8 slm_alloc_fn
field slm_chat_template_options.alloc_user 32 8 void*
field slm_chat_template_options.max_bytes 40 8 uint64_t
function slm_chat_template_options_init 2 int slm_chat_template_options* size_t
function slm_chat_template_create 6 int slm_chat_template** const_slm_model* const_char* size_t const_slm_chat_template_options* slm_error*
function slm_chat_template_free 1 void slm_chat_template*
struct slm_chat_builtin 32
field slm_chat_builtin.struct_size 0 4 uint32_t
field slm_chat_builtin.index 4 4 int32_t
field slm_chat_builtin.name 8 8 const_char*
field slm_chat_builtin.text 16 8 const_char*
field slm_chat_builtin.size 24 8 size_t
function slm_chat_builtin_find 4 int int32_t const_char* slm_chat_builtin* slm_error*
struct slm_chat_options 64
field slm_chat_options.struct_size 0 4 uint32_t
field slm_chat_options.add_generation_prompt 4 4 int32_t
field slm_chat_options.enable_thinking 8 4 int32_t
field slm_chat_options.reserved 12 4 int32_t
field slm_chat_options.tools 16 8 const_char*
field slm_chat_options.tools_size 24 8 size_t
field slm_chat_options.extra 32 8 const_char*
field slm_chat_options.extra_size 40 8 size_t
field slm_chat_options.reasoning_effort 48 8 const_char*
field slm_chat_options.now 56 8 int64_t
function slm_chat_options_init 2 int slm_chat_options* size_t
function slm_chat_render 6 int slm_chat_prompt** const_slm_chat_template* const_char* size_t const_slm_chat_options* slm_error*
struct slm_chat_segment 24
field slm_chat_segment.struct_size 0 4 uint32_t
field slm_chat_segment.kind 4 4 int32_t
field slm_chat_segment.text 8 8 const_char*
field slm_chat_segment.size 16 8 size_t
struct slm_chat_prompt_info 40
field slm_chat_prompt_info.struct_size 0 4 uint32_t
field slm_chat_prompt_info.n_segments 4 4 int32_t
field slm_chat_prompt_info.segments 8 8 const_slm_chat_segment*
field slm_chat_prompt_info.segment_size 16 8 size_t
field slm_chat_prompt_info.text 24 8 const_char*
field slm_chat_prompt_info.size 32 8 size_t
function slm_chat_prompt_get_info 3 int const_slm_chat_prompt* slm_chat_prompt_info* slm_error*
function slm_chat_prompt_free 1 void slm_chat_prompt*
function slm_tokenize_segments 9 int const_slm_model* const_slm_chat_segment* int32_t size_t uint32_t int32_t* size_t size_t* slm_error*
opaque slm_chat_output
struct slm_chat_output_options 64
field slm_chat_output_options.struct_size 0 4 uint32_t
field slm_chat_output_options.reserved 4 4 int32_t
field slm_chat_output_options.reasoning 8 8 const_char*
field slm_chat_output_options.tool_calls 16 8 const_char*
field slm_chat_output_options.tools 24 8 const_char*
field slm_chat_output_options.tools_size 32 8 size_t
field slm_chat_output_options.max_call_bytes 40 8 uint64_t
field slm_chat_output_options.alloc 48 8 slm_alloc_fn
field slm_chat_output_options.alloc_user 56 8 void*
function slm_chat_output_options_init 2 int slm_chat_output_options* size_t
function slm_chat_output_create 4 int slm_chat_output** const_slm_chat_template* const_slm_chat_output_options* slm_error*
function slm_chat_output_free 1 void slm_chat_output*
function slm_chat_output_begin 3 int slm_chat_output* const_slm_chat_prompt* slm_error*
function slm_chat_output_push 5 int slm_chat_output* int32_t const_char* size_t slm_error*
struct slm_chat_event 56
field slm_chat_event.struct_size 0 4 uint32_t
field slm_chat_event.kind 4 4 int32_t
field slm_chat_event.index 8 4 int32_t
field slm_chat_event.reserved 12 4 int32_t
field slm_chat_event.text 16 8 const_char*
field slm_chat_event.size 24 8 size_t
field slm_chat_event.id 32 8 const_char*
field slm_chat_event.name 40 8 const_char*
field slm_chat_event.arguments 48 8 const_char*
function slm_chat_output_next 3 int slm_chat_output* slm_chat_event* slm_error*
struct slm_chat_output_info 40
field slm_chat_output_info.struct_size 0 4 uint32_t
field slm_chat_output_info.kind 4 4 int32_t
field slm_chat_output_info.reasoning 8 8 const_char*
field slm_chat_output_info.tool_calls 16 8 const_char*
field slm_chat_output_info.reasoning_open 24 8 const_char*
field slm_chat_output_info.reasoning_close 32 8 const_char*
function slm_chat_output_get_info 3 int const_slm_chat_output* slm_chat_output_info* slm_error*
opaque slm_threads
callback slm_task_fn 2 void void* int32_t
callback slm_parallel_fn 4 void void* int32_t slm_task_fn void*
struct slm_threads_options 40
field slm_threads_options.struct_size 0 4 uint32_t
field slm_threads_options.n_threads 4 4 int32_t
field slm_threads_options.parallel 8 8 slm_parallel_fn
field slm_threads_options.parallel_user 16 8 void*
field slm_threads_options.alloc 24 8 slm_alloc_fn
field slm_threads_options.alloc_user 32 8 void*
function slm_threads_options_init 2 int slm_threads_options* size_t
function slm_threads_create 3 int slm_threads** const_slm_threads_options* slm_error*
function slm_threads_free 1 void slm_threads*
opaque slm_context
struct slm_context_options 72
field slm_context_options.struct_size 0 4 uint32_t
field slm_context_options.flags 4 4 uint32_t
field slm_context_options.n_ctx 8 4 int32_t
field slm_context_options.n_sequences 12 4 int32_t
field slm_context_options.n_pages 16 4 int32_t
field slm_context_options.n_batch 20 4 int32_t
field slm_context_options.n_logits 24 4 int32_t
field slm_context_options.kv_type 28 4 int32_t
field slm_context_options.n_threads 32 4 int32_t
field slm_context_options.n_checkpoints 36 4 int32_t
field slm_context_options.threads 40 8 slm_threads*
field slm_context_options.alloc 48 8 slm_alloc_fn
field slm_context_options.alloc_user 56 8 void*
field slm_context_options.max_bytes 64 8 uint64_t
function slm_context_options_init 2 int slm_context_options* size_t
struct slm_plan 64
field slm_plan.struct_size 0 4 uint32_t
field slm_plan.n_threads 4 4 int32_t
field slm_plan.n_ctx 8 4 int32_t
field slm_plan.n_pages 12 4 int32_t
field slm_plan.model_mapped_bytes 16 8 uint64_t
field slm_plan.model_heap_bytes 24 8 uint64_t
field slm_plan.context_heap_bytes 32 8 uint64_t
field slm_plan.kv_bytes 40 8 uint64_t
field slm_plan.stack_bytes 48 8 uint64_t
field slm_plan.state_bytes 56 8 uint64_t
function slm_plan_memory 4 int const_slm_model* const_slm_context_options* slm_plan* slm_error*
function slm_context_create 4 int slm_context** slm_model* const_slm_context_options* slm_error*
function slm_context_free 1 void slm_context*
struct slm_context_info 40
field slm_context_info.struct_size 0 4 uint32_t
field slm_context_info.n_ctx 4 4 int32_t
field slm_context_info.n_sequences 8 4 int32_t
field slm_context_info.n_batch 12 4 int32_t
field slm_context_info.n_logits 16 4 int32_t
field slm_context_info.n_pages 20 4 int32_t
field slm_context_info.n_pages_free 24 4 int32_t
field slm_context_info.n_threads 28 4 int32_t
field slm_context_info.heap_bytes 32 8 uint64_t
function slm_context_get_info 3 int const_slm_context* slm_context_info* slm_error*
function slm_sequence_length 4 int const_slm_context* int32_t int32_t* slm_error*
function slm_sequence_fork 4 int slm_context* int32_t int32_t slm_error*
function slm_sequence_rewind 4 int slm_context* int32_t int32_t slm_error*
function slm_sequence_checkpoint 4 int slm_context* int32_t int32_t slm_error*
struct slm_span 32
field slm_span.struct_size 0 4 uint32_t
field slm_span.sequence 4 4 int32_t
field slm_span.position 8 4 int32_t
field slm_span.n_tokens 12 4 int32_t
field slm_span.tokens 16 8 const_int32_t*
field slm_span.want 24 4 int32_t
field slm_span.n_done 28 4 int32_t
struct slm_eval_options 40
field slm_eval_options.struct_size 0 4 uint32_t
field slm_eval_options.reserved 4 4 int32_t
field slm_eval_options.deadline_ns 8 8 int64_t
field slm_eval_options.cancel 16 8 const_int32_t*
field slm_eval_options.progress 24 8 slm_progress_fn
field slm_eval_options.progress_user 32 8 void*
function slm_eval_options_init 2 int slm_eval_options* size_t
function slm_eval 6 int slm_context* slm_span* int32_t size_t const_slm_eval_options* slm_error*
function slm_logits 5 int const_slm_context* int32_t const_float** int32_t* slm_error*
struct slm_embed_text 16
field slm_embed_text.struct_size 0 4 uint32_t
field slm_embed_text.n_tokens 4 4 int32_t
field slm_embed_text.tokens 8 8 const_int32_t*
struct slm_embed_options 48
field slm_embed_options.struct_size 0 4 uint32_t
field slm_embed_options.pooling 4 4 int32_t
field slm_embed_options.normalize 8 4 int32_t
field slm_embed_options.reserved 12 4 int32_t
field slm_embed_options.deadline_ns 16 8 int64_t
field slm_embed_options.cancel 24 8 const_int32_t*
field slm_embed_options.progress 32 8 slm_progress_fn
field slm_embed_options.progress_user 40 8 void*
function slm_embed_options_init 2 int slm_embed_options* size_t
function slm_embed 9 int slm_context* const_slm_embed_text* int32_t size_t const_slm_embed_options* float* size_t size_t* slm_error*
opaque slm_sampler
struct slm_logit_bias 8
field slm_logit_bias.token 0 4 int32_t
field slm_logit_bias.bias 4 4 float
struct slm_sampler_stage 40
field slm_sampler_stage.struct_size 0 4 uint32_t
field slm_sampler_stage.kind 4 4 int32_t
field slm_sampler_stage.n 8 4 int32_t
field slm_sampler_stage.value 12 4 float
field slm_sampler_stage.repeat 16 4 float
field slm_sampler_stage.frequency 20 4 float
field slm_sampler_stage.presence 24 4 float
field slm_sampler_stage.n_biases 28 4 int32_t
field slm_sampler_stage.biases 32 8 const_slm_logit_bias*
struct slm_sampler_options 32
field slm_sampler_options.struct_size 0 4 uint32_t
field slm_sampler_options.reserved 4 4 int32_t
field slm_sampler_options.seed 8 8 uint64_t
field slm_sampler_options.alloc 16 8 slm_alloc_fn
field slm_sampler_options.alloc_user 24 8 void*
function slm_sampler_options_init 2 int slm_sampler_options* size_t
function slm_sampler_create 7 int slm_sampler** slm_model* const_slm_sampler_stage* int32_t size_t const_slm_sampler_options* slm_error*
function slm_sampler_free 1 void slm_sampler*
function slm_sampler_clone 3 int slm_sampler** const_slm_sampler* slm_error*
struct slm_candidate 12
field slm_candidate.token 0 4 int32_t
field slm_candidate.logit 4 4 float
field slm_candidate.probability 8 4 float
function slm_sample 5 int slm_sampler* const_float* int32_t int32_t* slm_error*
function slm_sampler_apply 4 int slm_sampler* slm_candidate* int32_t* slm_error*
function slm_sampler_choose 5 int slm_sampler* slm_candidate* int32_t int32_t* slm_error*
function slm_sampler_accept 3 int slm_sampler* int32_t slm_error*
function slm_sampler_rewind 3 int slm_sampler* int32_t slm_error*
opaque slm_generator
struct slm_generate_options 88
field slm_generate_options.struct_size 0 4 uint32_t
field slm_generate_options.flags 4 4 uint32_t
field slm_generate_options.max_tokens 8 4 int32_t
field slm_generate_options.n_stops 12 4 int32_t
field slm_generate_options.stops 16 8 const_char*const*
field slm_generate_options.prompt_tokens 24 8 const_int32_t*
field slm_generate_options.n_prompt_tokens 32 4 int32_t
field slm_generate_options.special_pieces 36 4 int32_t
field slm_generate_options.step_ns 40 8 int64_t
field slm_generate_options.cancel 48 8 const_int32_t*
field slm_generate_options.progress 56 8 slm_progress_fn
field slm_generate_options.progress_user 64 8 void*
field slm_generate_options.chat_output 72 8 const_slm_chat_output*
field slm_generate_options.reasoning_budget 80 4 int32_t
field slm_generate_options.heal 84 4 int32_t
function slm_generate_options_init 2 int slm_generate_options* size_t
function slm_generate_begin 8 int slm_generator** slm_context* int32_t slm_sampler* const_char* size_t const_slm_generate_options* slm_error*
struct slm_piece 40
field slm_piece.struct_size 0 4 uint32_t
field slm_piece.kind 4 4 int32_t
field slm_piece.reason 8 4 int32_t
field slm_piece.n_tokens 12 4 int32_t
field slm_piece.tokens 16 8 const_int32_t*
field slm_piece.text 24 8 const_char*
field slm_piece.size 32 8 size_t
function slm_generate_next 3 int slm_generator* slm_piece* slm_error*
struct slm_generate_stats 56
field slm_generate_stats.struct_size 0 4 uint32_t
field slm_generate_stats.n_prompt 4 4 int32_t
field slm_generate_stats.n_prompt_done 8 4 int32_t
field slm_generate_stats.n_generated 12 4 int32_t
field slm_generate_stats.prompt_ns 16 8 int64_t
field slm_generate_stats.generate_ns 24 8 int64_t
field slm_generate_stats.first_token_ns 32 8 int64_t
field slm_generate_stats.n_reasoning 40 4 int32_t
field slm_generate_stats.n_answer 44 4 int32_t
field slm_generate_stats.n_tool_calls 48 4 int32_t
field slm_generate_stats.n_forced 52 4 int32_t
function slm_generate_get_stats 3 int const_slm_generator* slm_generate_stats* slm_error*
function slm_generate_end 1 void slm_generator*
"""
