//! slm.h, declared for Rust: every constant, struct and function. The comments are slm.h's; what is
//! safe stands in the rest of this crate. A test holds each line against the header.
#![allow(non_camel_case_types, missing_docs)]

use std::os::raw::{c_char, c_int, c_void};

pub type slm_alloc_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        ptr: *mut c_void,
        old_size: usize,
        new_size: usize,
        align: usize,
    ) -> *mut c_void,
>;
pub type slm_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char)>;
pub type slm_progress_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> i32>;
pub type slm_read_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        file: i32,
        offset: u64,
        buffer: *mut c_void,
        size: usize,
    ) -> i64,
>;
pub type slm_task_fn = Option<unsafe extern "C" fn(arg: *mut c_void, index: i32)>;
pub type slm_parallel_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, n: i32, task: slm_task_fn, arg: *mut c_void)>;

/// What slm.h declares without saying what it is made of.
macro_rules! header_opaque {
    ($($name:ident)*) => { $(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
            _not_send: std::marker::PhantomData<*mut u8>,
        }
    )* };
}

header_opaque! {
    slm_model slm_chat_template slm_chat_prompt slm_chat_output slm_threads slm_context slm_sampler
    slm_generator
}

macro_rules! header_constants {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $( pub const $name: $type = $value; )*

        #[cfg(test)]
        fn constant_lines() -> Vec<String> {
            vec![$( format!("const {} {}", stringify!($name), $name) ),*]
        }
    };
}

/// The default of a struct is all zero, but for `struct_size`, which is set where there is one.
macro_rules! header_structs {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy)]
            pub struct $name { $( pub $field: $type, )* }

            impl Default for $name {
                fn default() -> Self {
                    // SAFETY: numbers, pointers, optional functions and arrays of numbers may all
                    // be zero.
                    #[allow(unused_mut)]
                    let mut zero: Self = unsafe { std::mem::zeroed() };
                    header_structs!(@size zero $($field)*);
                    zero
                }
            }
        )*

        #[cfg(test)]
        fn struct_lines() -> Vec<String> {
            fn size_behind<T>(_: *const T) -> usize {
                std::mem::size_of::<T>()
            }
            let mut lines = Vec::new();
            $(
                let room = std::mem::MaybeUninit::<$name>::uninit();
                let start = room.as_ptr();
                lines.push(format!("struct {} {}", stringify!($name), size_behind(start)));
                $(
                    // SAFETY: an address inside of `room`; nothing is read.
                    let field = unsafe { std::ptr::addr_of!((*start).$field) };
                    lines.push(format!(
                        "field {}.{} {} {} {}",
                        stringify!($name),
                        stringify!($field).trim_start_matches("r#"),
                        field as usize - start as usize,
                        size_behind(field),
                        tests::in_c(stringify!($type)),
                    ));
                )*
            )*
            lines
        }
    };
    (@size $zero:ident struct_size $($rest:ident)*) => {
        $zero.struct_size = std::mem::size_of::<Self>() as u32;
    };
    (@size $($other:ident)*) => {};
}

macro_rules! header_functions {
    ($(fn $name:ident($($parameter:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        extern "C" {
            $( pub fn $name($($parameter: $type),*) $(-> $result)?; )*
        }

        #[cfg(test)]
        fn function_lines() -> Vec<String> {
            vec![$( {
                let types: &[&str] = &[$(stringify!($type)),*];
                let result: &[&str] = &[$(stringify!($result))?];
                let mut line = format!(
                    "function {} {} {}",
                    stringify!($name),
                    types.len(),
                    tests::in_c(result.first().unwrap_or(&"c_void")),
                );
                for name in types {
                    line += " ";
                    line += &tests::in_c(name);
                }
                line
            } ),*]
        }
    };
}

header_constants! {
    SLM_ABI: i32 = 1;
    SLM_OK: c_int = 0;
    SLM_E_ARGUMENT: c_int = -1;
    SLM_E_MEMORY: c_int = -2;
    SLM_E_IO: c_int = -3;
    SLM_E_FORMAT: c_int = -4;
    SLM_E_MODEL: c_int = -5;
    SLM_E_UNSUPPORTED: c_int = -6;
    SLM_E_SPACE: c_int = -7;
    SLM_E_FULL: c_int = -8;
    SLM_E_CANCELLED: c_int = -9;
    SLM_E_DEADLINE: c_int = -10;
    SLM_E_BUSY: c_int = -11;
    SLM_E_FORKED: c_int = -12;
    SLM_E_NUMERIC: c_int = -13;
    SLM_E_THREAD: c_int = -14;
    SLM_E_TEMPLATE: c_int = -15;
    SLM_NO_DEADLINE: i64 = i64::MAX;
    SLM_LOG_INFO: i32 = 1;
    SLM_LOG_WARN: i32 = 2;
    SLM_CPU_AVX2: u64 = 1 << 0;
    SLM_CPU_AVX_VNNI: u64 = 1 << 1;
    SLM_CPU_AVX512: u64 = 1 << 2;
    SLM_CPU_AVX512_VNNI: u64 = 1 << 3;
    SLM_CPU_AVX512_BF16: u64 = 1 << 4;
    SLM_CPU_AMX_INT8: u64 = 1 << 5;
    SLM_CPU_AMX_BF16: u64 = 1 << 6;
    SLM_CPU_NEON: u64 = 1 << 16;
    SLM_CPU_DOTPROD: u64 = 1 << 17;
    SLM_CPU_I8MM: u64 = 1 << 18;
    SLM_CPU_SIMD128: u64 = 1 << 24;
    SLM_CPU_ALL: u64 = u64::MAX;
    SLM_LOAD_READ: u32 = 1;
    SLM_LOAD_METADATA: u32 = 2;
    SLM_LOAD_CHECK: u32 = 4;
    SLM_LOAD_SURPLUS: u32 = 8;
    SLM_PRE_NONE: i32 = 0;
    SLM_PRE_KNOWN: i32 = 1;
    SLM_PRE_MISSING: i32 = 2;
    SLM_PRE_UNKNOWN: i32 = 3;
    SLM_TYPE_UINT8: i32 = 0;
    SLM_TYPE_INT8: i32 = 1;
    SLM_TYPE_UINT16: i32 = 2;
    SLM_TYPE_INT16: i32 = 3;
    SLM_TYPE_UINT32: i32 = 4;
    SLM_TYPE_INT32: i32 = 5;
    SLM_TYPE_FLOAT32: i32 = 6;
    SLM_TYPE_BOOL: i32 = 7;
    SLM_TYPE_STRING: i32 = 8;
    SLM_TYPE_ARRAY: i32 = 9;
    SLM_TYPE_UINT64: i32 = 10;
    SLM_TYPE_INT64: i32 = 11;
    SLM_TYPE_FLOAT64: i32 = 12;
    SLM_TEXT_BOS: u32 = 1;
    SLM_TEXT_SPECIAL: u32 = 2;
    SLM_TEXT_CLEAN: u32 = 4;
    SLM_TOKEN_NORMAL: i32 = 1;
    SLM_TOKEN_UNKNOWN: i32 = 2;
    SLM_TOKEN_CONTROL: i32 = 3;
    SLM_TOKEN_USER: i32 = 4;
    SLM_TOKEN_UNUSED: i32 = 5;
    SLM_TOKEN_BYTE: i32 = 6;
    SLM_NO_DATE: i64 = i64::MIN;
    SLM_SEGMENT_TEMPLATE: i32 = 1;
    SLM_SEGMENT_CONTENT: i32 = 2;
    SLM_CHAT_NONE: i32 = 0;
    SLM_CHAT_REASONING: i32 = 1;
    SLM_CHAT_ANSWER: i32 = 2;
    SLM_CHAT_TOOL_CALL: i32 = 3;
    SLM_CHAT_END: i32 = 4;
    SLM_AUTO: i32 = -1;
    SLM_KV_F16: i32 = 0;
    SLM_KV_F32: i32 = 1;
    SLM_CONTEXT_EXACT: u32 = 1;
    SLM_CONTEXT_BATCH_INVARIANT: u32 = 2;
    SLM_WANT_NONE: i32 = 0;
    SLM_WANT_LAST: i32 = 1;
    SLM_WANT_ALL: i32 = 2;
    SLM_POOLING_NONE: i32 = 0;
    SLM_POOLING_MEAN: i32 = 1;
    SLM_POOLING_CLS: i32 = 2;
    SLM_POOLING_LAST: i32 = 3;
    SLM_POOLING_RANK: i32 = 4;
    SLM_NORMALIZE_EUCLIDEAN: i32 = 0;
    SLM_NORMALIZE_NONE: i32 = 1;
    SLM_STAGE_TEMPERATURE: i32 = 1;
    SLM_STAGE_TOP_K: i32 = 2;
    SLM_STAGE_TOP_P: i32 = 3;
    SLM_STAGE_MIN_P: i32 = 4;
    SLM_STAGE_PENALTIES: i32 = 5;
    SLM_STAGE_LOGIT_BIAS: i32 = 6;
    SLM_REWIND_MAX: i32 = 1024;
    SLM_PIECE_TEXT: i32 = 1;
    SLM_PIECE_END: i32 = 2;
    SLM_PIECE_SPECIAL: i32 = 3;
    SLM_END_TOKEN: i32 = 1;
    SLM_END_STOP: i32 = 2;
    SLM_END_LIMIT: i32 = 3;
    SLM_END_FULL: i32 = 4;
}

header_structs! {
    slm_error {
        code: i32,
        reserved: u32,
        position: i64,
        message: [c_char; 240],
    }
    slm_encoding_info {
        struct_size: u32,
        id: i32,
        name: *const c_char,
        block_elements: i32,
        block_bytes: i32,
    }
    slm_model_options {
        struct_size: u32,
        flags: u32,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
        log: slm_log_fn,
        log_user: *mut c_void,
        progress: slm_progress_fn,
        progress_user: *mut c_void,
        cancel: *const i32,
        max_bytes: u64,
        cpu: u64,
    }
    slm_model_info {
        struct_size: u32,
        n_vocab: i32,
        n_ctx_train: i32,
        n_embd: i32,
        n_layer: i32,
        n_head: i32,
        n_kv_head: i32,
        head_dim: i32,
        n_ff: i32,
        bos_token: i32,
        eos_token: i32,
        eot_token: i32,
        unk_token: i32,
        pad_token: i32,
        add_bos: i32,
        add_eos: i32,
        n_metadata: i32,
        n_tensors: i32,
        file_type: i32,
        gguf_version: i32,
        family: *const c_char,
        name: *const c_char,
        tokenizer: *const c_char,
        isa: *const c_char,
        chat_template: *const c_char,
        n_parameters: u64,
        weight_bytes: u64,
        mapped_bytes: u64,
        heap_bytes: u64,
        heap_peak_bytes: u64,
        cpu: u64,
        is_causal: i32,
        pooling: i32,
        n_embd_out: i32,
        n_outputs: i32,
        sep_token: i32,
        add_sep: i32,
        is_recurrent: i32,
        pre_status: i32,
        pre: *const c_char,
        eom_token: i32,
        mask_token: i32,
        fim_pre_token: i32,
        fim_suf_token: i32,
        fim_mid_token: i32,
        fim_pad_token: i32,
        fim_rep_token: i32,
        fim_sep_token: i32,
    }
    slm_metadata {
        struct_size: u32,
        value_type: i32,
        is_array: i32,
        reserved: i32,
        count: u64,
        key: *const c_char,
        key_size: usize,
        integer: i64,
        real: f64,
        text: *const c_char,
        text_size: usize,
        data: *const c_void,
        data_size: usize,
    }
    slm_tensor_info {
        struct_size: u32,
        encoding: i32,
        name: *const c_char,
        name_size: usize,
        encoding_name: *const c_char,
        shape: [i64; 4],
        n_dims: i32,
        file: i32,
        offset: u64,
        size: u64,
    }
    slm_text_stream {
        state: [u8; 64],
    }
    slm_token_info {
        struct_size: u32,
        kind: i32,
        is_end: i32,
        score: f32,
        text: *const c_char,
        text_size: usize,
    }
    slm_chat_template_options {
        struct_size: u32,
        reserved: i32,
        bos_token: *const c_char,
        eos_token: *const c_char,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
        max_bytes: u64,
    }
    slm_chat_builtin {
        struct_size: u32,
        index: i32,
        name: *const c_char,
        text: *const c_char,
        size: usize,
    }
    slm_chat_options {
        struct_size: u32,
        add_generation_prompt: i32,
        enable_thinking: i32,
        reserved: i32,
        tools: *const c_char,
        tools_size: usize,
        extra: *const c_char,
        extra_size: usize,
        reasoning_effort: *const c_char,
        now: i64,
    }
    slm_chat_segment {
        struct_size: u32,
        kind: i32,
        text: *const c_char,
        size: usize,
    }
    slm_chat_prompt_info {
        struct_size: u32,
        n_segments: i32,
        segments: *const slm_chat_segment,
        segment_size: usize,
        text: *const c_char,
        size: usize,
    }
    slm_chat_output_options {
        struct_size: u32,
        reserved: i32,
        reasoning: *const c_char,
        tool_calls: *const c_char,
        tools: *const c_char,
        tools_size: usize,
        max_call_bytes: u64,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
    }
    slm_chat_event {
        struct_size: u32,
        kind: i32,
        index: i32,
        reserved: i32,
        text: *const c_char,
        size: usize,
        id: *const c_char,
        name: *const c_char,
        arguments: *const c_char,
    }
    slm_chat_output_info {
        struct_size: u32,
        kind: i32,
        reasoning: *const c_char,
        tool_calls: *const c_char,
        reasoning_open: *const c_char,
        reasoning_close: *const c_char,
    }
    slm_threads_options {
        struct_size: u32,
        n_threads: i32,
        parallel: slm_parallel_fn,
        parallel_user: *mut c_void,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
    }
    slm_context_options {
        struct_size: u32,
        flags: u32,
        n_ctx: i32,
        n_sequences: i32,
        n_pages: i32,
        n_batch: i32,
        n_logits: i32,
        kv_type: i32,
        n_threads: i32,
        n_checkpoints: i32,
        threads: *mut slm_threads,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
        max_bytes: u64,
    }
    slm_plan {
        struct_size: u32,
        n_threads: i32,
        n_ctx: i32,
        n_pages: i32,
        model_mapped_bytes: u64,
        model_heap_bytes: u64,
        context_heap_bytes: u64,
        kv_bytes: u64,
        stack_bytes: u64,
        state_bytes: u64,
    }
    slm_context_info {
        struct_size: u32,
        n_ctx: i32,
        n_sequences: i32,
        n_batch: i32,
        n_logits: i32,
        n_pages: i32,
        n_pages_free: i32,
        n_threads: i32,
        heap_bytes: u64,
    }
    slm_span {
        struct_size: u32,
        sequence: i32,
        position: i32,
        n_tokens: i32,
        tokens: *const i32,
        want: i32,
        n_done: i32,
    }
    slm_eval_options {
        struct_size: u32,
        reserved: i32,
        deadline_ns: i64,
        cancel: *const i32,
        progress: slm_progress_fn,
        progress_user: *mut c_void,
    }
    slm_embed_text {
        struct_size: u32,
        n_tokens: i32,
        tokens: *const i32,
    }
    slm_embed_options {
        struct_size: u32,
        pooling: i32,
        normalize: i32,
        reserved: i32,
        deadline_ns: i64,
        cancel: *const i32,
        progress: slm_progress_fn,
        progress_user: *mut c_void,
    }
    slm_logit_bias {
        token: i32,
        bias: f32,
    }
    slm_sampler_stage {
        struct_size: u32,
        kind: i32,
        n: i32,
        value: f32,
        repeat: f32,
        frequency: f32,
        presence: f32,
        n_biases: i32,
        biases: *const slm_logit_bias,
    }
    slm_sampler_options {
        struct_size: u32,
        reserved: i32,
        seed: u64,
        alloc: slm_alloc_fn,
        alloc_user: *mut c_void,
    }
    slm_candidate {
        token: i32,
        logit: f32,
        probability: f32,
    }
    slm_generate_options {
        struct_size: u32,
        flags: u32,
        max_tokens: i32,
        n_stops: i32,
        stops: *const *const c_char,
        prompt_tokens: *const i32,
        n_prompt_tokens: i32,
        special_pieces: i32,
        step_ns: i64,
        cancel: *const i32,
        progress: slm_progress_fn,
        progress_user: *mut c_void,
        chat_output: *const slm_chat_output,
        reasoning_budget: i32,
        heal: i32,
    }
    slm_piece {
        struct_size: u32,
        kind: i32,
        reason: i32,
        n_tokens: i32,
        tokens: *const i32,
        text: *const c_char,
        size: usize,
    }
    slm_generate_stats {
        struct_size: u32,
        n_prompt: i32,
        n_prompt_done: i32,
        n_generated: i32,
        prompt_ns: i64,
        generate_ns: i64,
        first_token_ns: i64,
        n_reasoning: i32,
        n_answer: i32,
        n_tool_calls: i32,
        n_forced: i32,
    }
}

header_functions! {
    fn slm_version() -> i32;
    fn slm_status_name(status: c_int) -> *const c_char;
    fn slm_clock_ns() -> i64;
    fn slm_cpu_features() -> u64;
    fn slm_cpu_feature_name(index: i32) -> *const c_char;
    fn slm_encoding_find(
        id: i32,
        name: *const c_char,
        info: *mut slm_encoding_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_options_init(options: *mut slm_model_options, size: usize) -> c_int;
    fn slm_model_open(
        model: *mut *mut slm_model,
        path: *const c_char,
        options: *const slm_model_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_open_memory(
        model: *mut *mut slm_model,
        data: *const *const c_void,
        size: *const usize,
        n_files: i32,
        options: *const slm_model_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_open_callback(
        model: *mut *mut slm_model,
        read: slm_read_fn,
        read_user: *mut c_void,
        size: *const u64,
        n_files: i32,
        options: *const slm_model_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_free(model: *mut slm_model);
    fn slm_model_get_info(
        model: *const slm_model,
        info: *mut slm_model_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_metadata(
        model: *const slm_model,
        index: i32,
        element: u64,
        value: *mut slm_metadata,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_metadata_find(
        model: *const slm_model,
        key: *const c_char,
        size: usize,
        index: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_model_tensor(
        model: *const slm_model,
        index: i32,
        info: *mut slm_tensor_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_tokenize(
        model: *const slm_model,
        text: *const c_char,
        size: usize,
        flags: u32,
        tokens: *mut i32,
        capacity: usize,
        needed: *mut usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_detokenize(
        model: *const slm_model,
        tokens: *const i32,
        n_tokens: usize,
        flags: u32,
        text: *mut c_char,
        capacity: usize,
        needed: *mut usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_decode_token(
        model: *const slm_model,
        stream: *mut slm_text_stream,
        token: i32,
        flags: u32,
        text: *mut c_char,
        capacity: usize,
        needed: *mut usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_token_get_info(
        model: *const slm_model,
        token: i32,
        info: *mut slm_token_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_token_find(
        model: *const slm_model,
        text: *const c_char,
        size: usize,
        token: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_template_options_init(
        options: *mut slm_chat_template_options,
        size: usize,
    ) -> c_int;
    fn slm_chat_template_create(
        chat_template: *mut *mut slm_chat_template,
        model: *const slm_model,
        text: *const c_char,
        size: usize,
        options: *const slm_chat_template_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_template_free(chat_template: *mut slm_chat_template);
    fn slm_chat_builtin_find(
        index: i32,
        name: *const c_char,
        builtin: *mut slm_chat_builtin,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_options_init(options: *mut slm_chat_options, size: usize) -> c_int;
    fn slm_chat_render(
        prompt: *mut *mut slm_chat_prompt,
        chat_template: *const slm_chat_template,
        messages: *const c_char,
        size: usize,
        options: *const slm_chat_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_prompt_get_info(
        prompt: *const slm_chat_prompt,
        info: *mut slm_chat_prompt_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_prompt_free(prompt: *mut slm_chat_prompt);
    fn slm_tokenize_segments(
        model: *const slm_model,
        segments: *const slm_chat_segment,
        n_segments: i32,
        segment_size: usize,
        flags: u32,
        tokens: *mut i32,
        capacity: usize,
        needed: *mut usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_output_options_init(options: *mut slm_chat_output_options, size: usize) -> c_int;
    fn slm_chat_output_create(
        output: *mut *mut slm_chat_output,
        chat_template: *const slm_chat_template,
        options: *const slm_chat_output_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_output_free(output: *mut slm_chat_output);
    fn slm_chat_output_begin(
        output: *mut slm_chat_output,
        prompt: *const slm_chat_prompt,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_output_push(
        output: *mut slm_chat_output,
        kind: i32,
        text: *const c_char,
        size: usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_output_next(
        output: *mut slm_chat_output,
        event: *mut slm_chat_event,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_chat_output_get_info(
        output: *const slm_chat_output,
        info: *mut slm_chat_output_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_threads_options_init(options: *mut slm_threads_options, size: usize) -> c_int;
    fn slm_threads_create(
        threads: *mut *mut slm_threads,
        options: *const slm_threads_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_threads_free(threads: *mut slm_threads);
    fn slm_context_options_init(options: *mut slm_context_options, size: usize) -> c_int;
    fn slm_plan_memory(
        model: *const slm_model,
        options: *const slm_context_options,
        plan: *mut slm_plan,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_context_create(
        context: *mut *mut slm_context,
        model: *mut slm_model,
        options: *const slm_context_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_context_free(context: *mut slm_context);
    fn slm_context_get_info(
        context: *const slm_context,
        info: *mut slm_context_info,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sequence_length(
        context: *const slm_context,
        sequence: i32,
        length: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sequence_fork(
        context: *mut slm_context,
        from: i32,
        to: i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sequence_rewind(
        context: *mut slm_context,
        sequence: i32,
        length: i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sequence_checkpoint(
        context: *mut slm_context,
        sequence: i32,
        index: i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_eval_options_init(options: *mut slm_eval_options, size: usize) -> c_int;
    fn slm_eval(
        context: *mut slm_context,
        spans: *mut slm_span,
        n_spans: i32,
        span_size: usize,
        options: *const slm_eval_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_logits(
        context: *const slm_context,
        index: i32,
        logits: *mut *const f32,
        n_vocab: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_embed_options_init(options: *mut slm_embed_options, size: usize) -> c_int;
    fn slm_embed(
        context: *mut slm_context,
        texts: *const slm_embed_text,
        n_texts: i32,
        text_size: usize,
        options: *const slm_embed_options,
        rows: *mut f32,
        capacity: usize,
        needed: *mut usize,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sampler_options_init(options: *mut slm_sampler_options, size: usize) -> c_int;
    fn slm_sampler_create(
        sampler: *mut *mut slm_sampler,
        model: *mut slm_model,
        stages: *const slm_sampler_stage,
        n_stages: i32,
        stage_size: usize,
        options: *const slm_sampler_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sampler_free(sampler: *mut slm_sampler);
    fn slm_sampler_clone(
        copy: *mut *mut slm_sampler,
        sampler: *const slm_sampler,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sample(
        sampler: *mut slm_sampler,
        logits: *const f32,
        n_vocab: i32,
        token: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sampler_apply(
        sampler: *mut slm_sampler,
        candidates: *mut slm_candidate,
        n: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sampler_choose(
        sampler: *mut slm_sampler,
        candidates: *mut slm_candidate,
        n: i32,
        token: *mut i32,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_sampler_accept(sampler: *mut slm_sampler, token: i32, err: *mut slm_error) -> c_int;
    fn slm_sampler_rewind(sampler: *mut slm_sampler, n: i32, err: *mut slm_error) -> c_int;
    fn slm_generate_options_init(options: *mut slm_generate_options, size: usize) -> c_int;
    fn slm_generate_begin(
        generator: *mut *mut slm_generator,
        context: *mut slm_context,
        sequence: i32,
        sampler: *mut slm_sampler,
        prompt: *const c_char,
        size: usize,
        options: *const slm_generate_options,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_generate_next(
        generator: *mut slm_generator,
        piece: *mut slm_piece,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_generate_get_stats(
        generator: *const slm_generator,
        stats: *mut slm_generate_stats,
        err: *mut slm_error,
    ) -> c_int;
    fn slm_generate_end(generator: *mut slm_generator);
}

#[cfg(test)]
mod tests {
    /// A Rust type as build/layout.txt writes it: "const_slm_model*", "int64_t[4]".
    pub fn in_c(name: &str) -> String {
        let name = name.trim();
        if let Some(pointee) = name.strip_prefix("*const ") {
            let pointee = in_c(pointee);
            return match pointee.ends_with('*') {
                true => pointee + "const*",
                false => format!("const_{}*", pointee),
            };
        }
        if let Some(pointee) = name.strip_prefix("*mut ") {
            return in_c(pointee) + "*";
        }
        if let Some(array) = name.strip_prefix('[') {
            let mut parts = array.trim_end_matches(']').split(';');
            let element = in_c(parts.next().unwrap());
            return format!("{}[{}]", element, parts.next().unwrap().trim());
        }
        match name {
            "c_char" => "char",
            "c_int" => "int",
            "c_void" => "void",
            "f32" => "float",
            "f64" => "double",
            "i32" => "int32_t",
            "i64" => "int64_t",
            "u8" => "uint8_t",
            "u32" => "uint32_t",
            "u64" => "uint64_t",
            "usize" => "size_t",
            other => other,
        }
        .to_string()
    }

    /// SLM_LAYOUT names the file that `make layout` writes from slm.h; without it the one in the
    /// repository is taken. Only a crate outside of it has none.
    #[test]
    fn declares_what_slm_h_declares() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let default = format!("{}/build/layout.txt", root);
        let named = std::env::var("SLM_LAYOUT").unwrap_or(default);
        let header = match std::fs::read_to_string(&named) {
            Ok(text) => text,
            Err(_) if !std::path::Path::new(root).join("slm.h").exists() => return,
            Err(error) => panic!("{}: {}; make layout writes it", named, error),
        };
        let kinds = ["const ", "struct ", "field ", "function "];
        let theirs: Vec<&str> =
            header.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).collect();
        let mut ours = super::constant_lines();
        ours.extend(super::struct_lines());
        ours.extend(super::function_lines());
        for line in &theirs {
            assert!(ours.iter().any(|our| our == line), "only in slm.h: {}", line);
        }
        for line in &ours {
            assert!(theirs.contains(&line.as_str()), "not in slm.h: {}", line);
        }
        assert!(theirs.len() > 400, "{} lines are not all of slm.h", theirs.len());
    }
}
