/* slm - small language models inside your program.
 *
 * This header is the whole public interface and its manual: what is not here is not API.
 *
 *     #include "slm.h"
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         slm_error err;
 *         slm_model *model = NULL;
 *         slm_context *context = NULL;
 *         slm_generator *gen = NULL;
 *         slm_piece piece = {0};
 *         piece.struct_size = sizeof piece;
 *         if (slm_model_open(&model, "model.gguf", NULL, &err) == SLM_OK &&
 *             slm_context_create(&context, model, NULL, &err) == SLM_OK &&
 *             slm_generate_begin(&gen, context, 0, NULL, "Once upon", 9, NULL, &err) == SLM_OK)
 *             while (slm_generate_next(gen, &piece, &err) == SLM_OK &&
 *                    piece.kind == SLM_PIECE_TEXT)
 *                 fwrite(piece.text, 1, piece.size, stdout);
 *         slm_generate_end(gen);
 *         slm_context_free(context);
 *         slm_model_free(model);
 *     }
 *
 * Build:  cc -O2 hello.c slm.c -pthread
 *
 * Objects
 *     slm_model      weights and vocabulary. Immutable once open: any number of threads may use
 *                    one model at a time. (Adapters will attach to a model and belong to a
 *                    sequence.)
 *     slm_context    KV cache, scratch memory and the sequences of tokens being worked on. One
 *                    thread at a time; several contexts may share a model and a thread pool.
 *     slm_sampler    how a token is chosen from logits. One thread at a time.
 *     slm_generator  prompt in, pieces of text out. Belongs to one context.
 *     slm_chat_template  how a conversation is written down for a model. Immutable. What it renders
 *                    is a slm_chat_prompt.
 *     slm_threads    a pool of worker threads, or the host's own, that contexts may share.
 *
 * Errors
 *     Every function that can fail returns a status: SLM_OK (0) or a negative SLM_E_ code, and
 *     takes a last argument slm_error * that may be NULL. The message names the tensor, key, byte
 *     offset, token or argument concerned. After an error every object is as valid as before the
 *     call; what a failed slm_eval had committed is told in slm_span.n_done. slm never aborts,
 *     exits, prints, raises a signal, reads the environment or keeps a mutable global.
 *
 * Structs
 *     Options and results begin with `uint32_t struct_size`, set by the caller to sizeof the struct
 *     it was compiled with; slm_*_options_init does that and fills in the defaults. The library
 *     reads and writes only what both sides know, so that a program and a library of different
 *     versions work together; a non-zero byte beyond what the library knows is SLM_E_ARGUMENT
 *     (a newer program asks for something this library cannot do). Where a function takes an
 *     options pointer, NULL means all defaults. The memory of options, and whatever they point to,
 *     is only read during the call unless a comment says otherwise.
 *
 * Buffers
 *     Functions that fill a buffer take (buffer, capacity, *needed). Too small is SLM_E_SPACE, the
 *     buffer is untouched and *needed says how much is wanted. Buffer NULL asks: *needed is set
 *     and SLM_OK returned.
 *
 * Cancelling
 *     `const int32_t *cancel` in options is a flag of the caller's: while it is 0 the call goes on.
 *     Any thread, signal handler or JavaScript may set it, with an atomic store (an atomic_int of C11
 *     and a std::atomic<int32_t> of C++ have the form of an int32_t); slm reads it atomically.
 *
 * Lifetime
 *     Objects count references to each other (a context keeps its model, a generator its context),
 *     so they may be freed in any order. Freeing NULL does nothing. Free an object only when no
 *     call on it is running.
 *
 * Callbacks
 *     Run only on the thread that called slm and must return (no longjmp, no exception through
 *     slm). Calling the same context, sampler or generator from inside one is SLM_E_BUSY, but for
 *     slm_context_get_info, slm_sequence_length, slm_logits and slm_generate_get_stats, which only
 *     look: from inside a callback they work; from another thread during a call they must not be
 *     used.
 *
 * fork()
 *     Models and samplers go on working in a child. A context, generator or thread pool made before
 *     the fork answers SLM_E_FORKED there; freeing it is allowed.
 *
 * Text
 *     UTF-8. Texts, keys and JSON come with their size in bytes and need no 0 at the end; names, paths
 *     (on Windows, too, UTF-8) and stop strings are 0-terminated. Invalid UTF-8 is accepted.
 *
 * Mapped files
 *     slm_model_open maps the file and reads weights where they lie; all else is copied. Deleting or
 *     renaming the file does no harm. If somebody writes into it while the model is in use, the
 *     weights are what stands there now: results change, nothing else. If somebody shortens it, the
 *     system raises SIGBUS in the thread that reads what is gone, the caller's or a worker's: while
 *     the model is opened, in slm_eval and in slm_generate_next. All other calls read no weights and
 *     go on as before. SLM_LOAD_READ copies the weights, too, and is free of that: a file that is
 *     shortened while slm_model_open reads it is SLM_E_IO, and afterwards nothing matters. (On
 *     Windows nobody can write into a file that is open or mapped here.)
 *
 * Limits
 *     More than this is refused with a status and a message. Nothing is cut off.
 *      1,073,741,824  bytes of metadata in one file: header, keys and tensor table
 *             65,536  keys of a file
 *             65,535  bytes of a key
 *          1,048,576  tensors of a model, in all its files
 *                 63  bytes of a tensor's name
 *                  4  dimensions of a tensor
 *          1,048,576  bytes that tensors are aligned to
 *              1,024  files of a split model
 *              1,023  characters of a path on Windows
 *                512  layers
 *          1,048,576  elements of a row: n_embd, n_ff
 *              1,024  heads
 *              1,024  elements of a head
 *              1,024  experts of a layer
 *                 64  taps of a convolution
 *              4,096  columns of the state of a recurrent head
 *         16,777,216  tokens of a vocabulary
 *             65,535  bytes of a token
 *         67,108,864  merges of a vocabulary
 *            131,071  bytes of a merge
 *        268,435,455  bytes of a text tokenised at once
 *         16,777,216  positions of a sequence, and rows of logits of a call
 *                256  sequences of a context
 *              1,024  checkpoints of a sequence
 *      1,073,741,823  KV pages of a context
 *              4,096  tokens of a batch
 *              1,024  threads
 *                 64  stages of a sampler
 *              4,096  accepted tokens that a stage looks back at
 *                 16  breakers of a stage
 *                 40  bytes of a breaker
 *                 16  stop strings
 *                255  bytes of a stop string
 *                 64  tokens that end reasoning
 *          1,048,576  bytes of a chat template
 *                100  brackets and blocks of a template inside each other
 *                128  values of JSON inside each other
 *                200  expressions, blocks and macros at work inside each other
 *         33,554,432  bytes of JSON, of a text in a template and of a rendered prompt
 *        268,435,456  bytes of memory that rendering takes
 *         33,554,432  steps of a rendering: some tenths of a second
 *            100,000  numbers of a template's range()
 *    250,000,000,000  seconds that a template's date is from 1970
 *             65,536  bytes of a struct that tells its size
 */
#ifndef SLM_H
#define SLM_H

#include <stddef.h>
#include <stdint.h>

#define SLM_VERSION_MAJOR 1
#define SLM_VERSION_MINOR 0
#define SLM_VERSION_PATCH 0
#define SLM_VERSION "1.0.0"
#define SLM_ABI 1 /* the major version: from 1 on only additions, see CHANGES.md */

/* Compile-time switches, for slm.c and for every includer alike:
 *     SLM_PREFIX      another prefix for every function, such as -DSLM_PREFIX=acme_slm_, so that
 *                     two differently built copies can live in one program
 *     SLM_API         linkage of public functions (default: extern, C linkage)
 * and for slm.c alone:
 *     SLM_NO_THREADS  no pthreads: everything runs on the calling thread
 *     SLM_NO_FILES    no file access: models come from memory or through a callback (also
 *                     SLM_NO_FILE)
 *     SLM_NO_SIMD     the scalar reference only
 *     SLM_NO_MALLOC   no default allocator: an object without a hook of its own is
 *                     SLM_E_ARGUMENT
 *     SLM_NO_CHAT     no chat templates and segments; implies SLM_NO_TOOLS
 *     SLM_NO_TOOLS    no slm_chat_output: nobody reads reasoning and tool calls out of answers
 *     SLM_NO_EMBED    no slm_embed, and slm_model_info.n_embd_out is 0
 *     SLM_NO_EXPERTS  no models that are a mixture of experts
 *     SLM_NO_HEAL     no slm_generate_options.heal
 *     SLM_NO_CHECK    no SLM_LOAD_CHECK
 *     SLM_NO_SPLIT    no models of several files
 *     SLM_NO_LISTS    no slm_model_metadata, slm_model_tensor and slm_encoding_find; CPU features
 *                     have no names
 *     SLM_ONLY_FAMILIES, SLM_ONLY_ENCODINGS, SLM_ONLY_TOKENIZERS, SLM_ONLY_PRETOKENIZERS,
 *     SLM_ONLY_STAGES with SLM_FAMILY_llama, SLM_ENCODING_Q8_0, SLM_TOKENIZER_bpe,
 *                     SLM_PRETOKENIZER_gpt2, SLM_STAGE_top_k and so on: these alone, see
 *                     src/profile.h. What was left out is SLM_E_UNSUPPORTED, by this switch as by
 *                     those above. An unknown pre-tokenizer is that, too, not the default one
 *     SLM_NO_MESSAGES errors have a code and a position, and no text
 *     SLM_NO_ERRORS   an slm_error is cleared and nothing more: the status is all there is
 *     SLM_SMALL       less code, where more makes tokenising or attention faster; the same results
 *     SLM_NO_DOUBLE   nothing is computed in double, for processors that have none; sums carry
 *                     what float loses. Needs SLM_NO_CHAT and SLM_NO_SIMD. Seeded sampling may
 *                     choose other tokens than with doubles, and a Unigram tokenizer another of
 *                     two segmentations that are as good
 *     SLM_DEBUG       internal assertions (they trap: for tests only) */
#ifndef SLM_API
#define SLM_API extern
#endif

#ifdef SLM_PREFIX
#define SLM_PASTE_EXPANDED(a, b) a##b
#define SLM_PASTE(a, b) SLM_PASTE_EXPANDED(a, b)
#define SLM_NAME(name) SLM_PASTE(SLM_PREFIX, name)
#define slm_version SLM_NAME(version)
#define slm_status_name SLM_NAME(status_name)
#define slm_clock_ns SLM_NAME(clock_ns)
#define slm_cpu_features SLM_NAME(cpu_features)
#define slm_cpu_feature_name SLM_NAME(cpu_feature_name)
#define slm_encoding_find SLM_NAME(encoding_find)
#define slm_model_options_init SLM_NAME(model_options_init)
#define slm_model_open SLM_NAME(model_open)
#define slm_model_open_memory SLM_NAME(model_open_memory)
#define slm_model_open_callback SLM_NAME(model_open_callback)
#define slm_model_free SLM_NAME(model_free)
#define slm_model_get_info SLM_NAME(model_get_info)
#define slm_model_metadata SLM_NAME(model_metadata)
#define slm_model_metadata_find SLM_NAME(model_metadata_find)
#define slm_model_tensor SLM_NAME(model_tensor)
#define slm_tokenize SLM_NAME(tokenize)
#define slm_tokenize_segments SLM_NAME(tokenize_segments)
#define slm_detokenize SLM_NAME(detokenize)
#define slm_decode_token SLM_NAME(decode_token)
#define slm_token_get_info SLM_NAME(token_get_info)
#define slm_token_find SLM_NAME(token_find)
#define slm_chat_template_options_init SLM_NAME(chat_template_options_init)
#define slm_chat_template_create SLM_NAME(chat_template_create)
#define slm_chat_template_free SLM_NAME(chat_template_free)
#define slm_chat_builtin_find SLM_NAME(chat_builtin_find)
#define slm_chat_options_init SLM_NAME(chat_options_init)
#define slm_chat_render SLM_NAME(chat_render)
#define slm_chat_prompt_get_info SLM_NAME(chat_prompt_get_info)
#define slm_chat_prompt_free SLM_NAME(chat_prompt_free)
#define slm_chat_output_options_init SLM_NAME(chat_output_options_init)
#define slm_chat_output_create SLM_NAME(chat_output_create)
#define slm_chat_output_begin SLM_NAME(chat_output_begin)
#define slm_chat_output_push SLM_NAME(chat_output_push)
#define slm_chat_output_next SLM_NAME(chat_output_next)
#define slm_chat_output_get_info SLM_NAME(chat_output_get_info)
#define slm_chat_output_free SLM_NAME(chat_output_free)
#define slm_threads_options_init SLM_NAME(threads_options_init)
#define slm_threads_create SLM_NAME(threads_create)
#define slm_threads_free SLM_NAME(threads_free)
#define slm_context_options_init SLM_NAME(context_options_init)
#define slm_plan_memory SLM_NAME(plan_memory)
#define slm_context_create SLM_NAME(context_create)
#define slm_context_free SLM_NAME(context_free)
#define slm_context_get_info SLM_NAME(context_get_info)
#define slm_sequence_length SLM_NAME(sequence_length)
#define slm_sequence_fork SLM_NAME(sequence_fork)
#define slm_sequence_rewind SLM_NAME(sequence_rewind)
#define slm_sequence_checkpoint SLM_NAME(sequence_checkpoint)
#define slm_eval_options_init SLM_NAME(eval_options_init)
#define slm_eval SLM_NAME(eval)
#define slm_logits SLM_NAME(logits)
#define slm_embed_options_init SLM_NAME(embed_options_init)
#define slm_embed SLM_NAME(embed)
#define slm_sampler_create SLM_NAME(sampler_create)
#define slm_sampler_free SLM_NAME(sampler_free)
#define slm_sampler_clone SLM_NAME(sampler_clone)
#define slm_sampler_options_init SLM_NAME(sampler_options_init)
#define slm_sample SLM_NAME(sample)
#define slm_sampler_apply SLM_NAME(sampler_apply)
#define slm_sampler_choose SLM_NAME(sampler_choose)
#define slm_sampler_accept SLM_NAME(sampler_accept)
#define slm_sampler_rewind SLM_NAME(sampler_rewind)
#define slm_generate_options_init SLM_NAME(generate_options_init)
#define slm_generate_begin SLM_NAME(generate_begin)
#define slm_generate_next SLM_NAME(generate_next)
#define slm_generate_get_stats SLM_NAME(generate_get_stats)
#define slm_generate_end SLM_NAME(generate_end)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---------------------------------------------------------------------------------- */

#define SLM_OK 0
#define SLM_E_ARGUMENT (-1)    /* a NULL, a value out of range, a wrong struct_size */
#define SLM_E_MEMORY (-2)      /* the allocator gave nothing, or a max_bytes cap was reached */
#define SLM_E_IO (-3)          /* a file could not be opened or read */
#define SLM_E_FORMAT (-4)      /* the bytes are not a valid GGUF file */
#define SLM_E_MODEL (-5)       /* a valid GGUF file that is not a consistent model */
#define SLM_E_UNSUPPORTED (-6) /* an unknown family, encoding, tokenizer or format version */
#define SLM_E_SPACE (-7)       /* the buffer is too small; *needed tells how much it takes */
#define SLM_E_FULL (-8)        /* the context has no room for these tokens */
#define SLM_E_CANCELLED (-9)   /* *cancel became non-zero, or a progress callback asked to stop */
#define SLM_E_DEADLINE (-10)   /* the time is up; call again to go on */
#define SLM_E_BUSY (-11)       /* the object is in use by another call */
#define SLM_E_FORKED (-12)     /* the object was made before fork() */
#define SLM_E_NUMERIC (-13)    /* no finite logit to choose from */
#define SLM_E_THREAD (-14)     /* the system gave no thread */
#define SLM_E_TEMPLATE (-15)   /* a chat template is wrong, or refuses the conversation */

/* Always 256 bytes. The message is English, one line, 0-terminated, valid UTF-8. */
typedef struct slm_error {
    int32_t code;      /* the status returned */
    uint32_t reserved; /* 0 */
    int64_t position;  /* byte offset in the file or JSON, line of the template, or the index of the
                          token, span or stage; or -1 */
    char message[240];
} slm_error;

/* The library's version as major * 1000000 + minor * 1000 + patch. A program that was compiled with
 * this header can use any library of the same major version. Any thread. */
SLM_API int32_t slm_version(void);

/* "SLM_E_FORMAT" and so on; "unknown status" for any other number. Static memory. Any thread. */
SLM_API const char *slm_status_name(int status);

/* Nanoseconds of a monotonic clock: the clock of every deadline_ns. Any thread. On bare metal it is
 * 0, and no deadline ever passes, unless slm.c is compiled with a clock: PLATFORM_CLOCK_NS() of
 * src/platform.c. */
SLM_API int64_t slm_clock_ns(void);

#define SLM_NO_DEADLINE INT64_MAX

/* ---- Hooks ----------------------------------------------------------------------------------- */

/* One function for all memory of an object.
 *     ptr NULL       allocate new_size bytes at a multiple of align (a power of two, at most 64)
 *     new_size 0     free ptr, which was allocated with old_size and align
 * slm never asks to resize. Returns NULL when there is no memory: the call in progress then fails
 * with SLM_E_MEMORY. A model's hook may be called from any thread that uses the model; a context's,
 * sampler's and generator's only from the thread in the call. Must outlive the object. */
typedef void *(*slm_alloc_fn)(void *user, void *ptr, size_t old_size, size_t new_size,
                              size_t align);

#define SLM_LOG_INFO 1
#define SLM_LOG_WARN 2

/* One line of English without newline, valid during the call. Without a callback slm is silent. A
 * model's is called by whatever uses the model, until it and all that was made from it is freed. */
typedef void (*slm_log_fn)(void *user, int32_t level, const char *message);

/* How far a long call is: done of total (bytes when loading, tokens in prefill). Return 0 to go on,
 * anything else to stop with SLM_E_CANCELLED; when done equals total there is nothing to stop. */
typedef int32_t (*slm_progress_fn)(void *user, uint64_t done, uint64_t total);

/* Fills buffer with size bytes of file number `file` (0-based) from `offset`; returns the number of
 * bytes read (fewer only at the end of the file), or -1. */
typedef int64_t (*slm_read_fn)(void *user, int32_t file, uint64_t offset, void *buffer,
                               size_t size);

/* ---- CPU ------------------------------------------------------------------------------------- */

#define SLM_CPU_AVX2 (UINT64_C(1) << 0) /* with FMA and F16C */
#define SLM_CPU_AVX_VNNI (UINT64_C(1) << 1)
#define SLM_CPU_AVX512 (UINT64_C(1) << 2) /* F, BW, VL, DQ */
#define SLM_CPU_AVX512_VNNI (UINT64_C(1) << 3)
#define SLM_CPU_AVX512_BF16 (UINT64_C(1) << 4)
#define SLM_CPU_AMX_INT8 (UINT64_C(1) << 5)
#define SLM_CPU_AMX_BF16 (UINT64_C(1) << 6)
#define SLM_CPU_NEON (UINT64_C(1) << 16)
#define SLM_CPU_DOTPROD (UINT64_C(1) << 17)
#define SLM_CPU_I8MM (UINT64_C(1) << 18)
#define SLM_CPU_SIMD128 (UINT64_C(1) << 24) /* of WebAssembly: decided when slm.c is compiled */
#define SLM_CPU_ALL UINT64_MAX

/* What this CPU and operating system offer, as SLM_CPU_ bits. Any thread. */
SLM_API uint64_t slm_cpu_features(void);

/* The name of one SLM_CPU_ bit given by its index 0 to 63 ("avx2"), NULL where there is none. */
SLM_API const char *slm_cpu_feature_name(int32_t index);

/* ---- Encodings ------------------------------------------------------------------------------- */

typedef struct slm_encoding_info {
    uint32_t struct_size;
    int32_t id;             /* the GGUF type id */
    const char *name;       /* "Q4_K"; static memory */
    int32_t block_elements; /* a row is a whole number of blocks */
    int32_t block_bytes;
} slm_encoding_info;

/* Describes encoding `id`, or where name is not NULL the one of that name (any case).
 * SLM_E_UNSUPPORTED if there is none. Any thread. */
SLM_API int slm_encoding_find(int32_t id, const char *name, slm_encoding_info *info,
                              slm_error *err);

/* ---- Model ----------------------------------------------------------------------------------- */

typedef struct slm_model slm_model;

/* How to open a model:
 *     SLM_LOAD_READ      copy the weights into memory rather than map the file
 *     SLM_LOAD_METADATA  metadata, vocabulary and tensor table only: no weights are read and no
 *                        context can be made; slm_tokenize and slm_plan_memory work
 *     SLM_LOAD_CHECK     look through all weights for NaN and infinity: SLM_E_MODEL names the first
 *                        tensor that has one
 *     SLM_LOAD_SURPLUS   open a model with tensors that its family has no place for: they are
 *                        ignored, and a warning names the first. Without it such a model, whose
 *                        results would not be its maker's, is SLM_E_UNSUPPORTED */
#define SLM_LOAD_READ 1u
#define SLM_LOAD_METADATA 2u
#define SLM_LOAD_CHECK 4u
#define SLM_LOAD_SURPLUS 8u

typedef struct slm_model_options {
    uint32_t struct_size;
    uint32_t flags;     /* SLM_LOAD_ bits; default 0 */
    slm_alloc_fn alloc; /* NULL: malloc and free */
    void *alloc_user;
    slm_log_fn log;           /* NULL: silent */
    void *log_user;           /* log and log_user are kept: contexts of this model use them too */
    slm_progress_fn progress; /* NULL: none */
    void *progress_user;
    const int32_t *cancel; /* polled while loading; NULL: none */
    uint64_t max_bytes;    /* cap on this model's heap bytes; default UINT64_MAX */
    uint64_t cpu;          /* features that may be used; default SLM_CPU_ALL, 0 = the reference */
} slm_model_options;

/* Sets struct_size and the defaults; size is sizeof *options. Like all of its kind:
 * SLM_E_ARGUMENT if options is NULL or size absurd. Any thread. */
SLM_API int slm_model_options_init(slm_model_options *options, size_t size);

/* Opens a GGUF file (version 2 or 3) and gives the caller one reference to the model, *model NULL
 * on failure. Of a split model (name-00001-of-00005.gguf) the first file is named and the others
 * are found beside it. SLM_E_IO, SLM_E_FORMAT, SLM_E_MODEL, SLM_E_UNSUPPORTED, SLM_E_MEMORY,
 * SLM_E_CANCELLED. Any thread. */
SLM_API int slm_model_open(slm_model **model, const char *path, const slm_model_options *options,
                           slm_error *err);

/* Opens a model that lies in memory: data[i], size[i] for each of n_files files (1 unless split),
 * at any alignment. Weights are used in place: the memory must stay as it is until the model is
 * freed, and its contexts too. SLM_LOAD_READ copies and lifts that. The arrays themselves are only
 * read during the call. */
SLM_API int slm_model_open_memory(slm_model **model, const void *const *data, const size_t *size,
                                  int32_t n_files, const slm_model_options *options,
                                  slm_error *err);

/* Opens a model whose n_files files of size[i] bytes are read through a callback, during the call
 * only. Weights are copied into memory. */
SLM_API int slm_model_open_callback(slm_model **model, slm_read_fn read, void *read_user,
                                    const uint64_t *size, int32_t n_files,
                                    const slm_model_options *options, slm_error *err);

/* Gives back the caller's reference; memory goes when the last context and sampler are gone too.
 * Any thread. */
SLM_API void slm_model_free(slm_model *model);

/* Who cuts a text into the pieces that byte pairs never cross:
 *     NONE     nobody: the tokenizer has no such step
 *     KNOWN    the pre-tokenizer that the file names
 *     MISSING  the file names none (it is older than the key), and
 *     UNKNOWN  the one it names is not known: the default one, so text may be split in other ways
 *              than the model was trained with */
#define SLM_PRE_NONE 0
#define SLM_PRE_KNOWN 1
#define SLM_PRE_MISSING 2
#define SLM_PRE_UNKNOWN 3

/* Pointers are valid as long as the model. Ids are -1 and numbers 0 where the file has none. */
typedef struct slm_model_info {
    uint32_t struct_size;
    int32_t n_vocab;
    int32_t n_ctx_train; /* positions the model was trained for */
    int32_t n_embd;
    int32_t n_layer;
    int32_t n_head;
    int32_t n_kv_head;
    int32_t head_dim;
    int32_t n_ff;
    int32_t bos_token;
    int32_t eos_token;
    int32_t eot_token;
    int32_t unk_token;
    int32_t pad_token;
    int32_t add_bos;    /* 1 if the vocabulary asks for a start token */
    int32_t add_eos;    /* 1 if it asks for an end token: eos_token, of "wordpiece" sep_token */
    int32_t n_metadata; /* for slm_model_metadata */
    int32_t n_tensors;  /* for slm_model_tensor */
    int32_t file_type;  /* general.file_type, informational */
    int32_t gguf_version;
    const char *family;    /* general.architecture */
    const char *name;      /* general.name, or "" */
    const char *tokenizer; /* "spm", "bpe", "wordpiece", "unigram", "rwkv" or "none" */
    const char *isa;       /* the highest instruction set whose kernels are in use: "avx2", "ref" */
    const char *chat_template; /* tokenizer.chat_template, 0-terminated, or NULL */
    uint64_t n_parameters;     /* elements of all tensors */
    uint64_t weight_bytes;     /* bytes of all tensors */
    uint64_t mapped_bytes;     /* of files mapped into memory */
    uint64_t heap_bytes;       /* of the allocator, now */
    uint64_t heap_peak_bytes;  /* of the allocator, at most so far: while loading */
    uint64_t cpu;              /* SLM_CPU_ bits in use */
    int32_t is_causal;  /* 0: an encoder, whose tokens all see each other. slm_embed is what it is
                           for; it gives no logits and generates nothing */
    int32_t pooling;    /* SLM_POOLING_: what the file says slm_embed is to give */
    int32_t n_embd_out; /* floats of an embedding */
    int32_t n_outputs;  /* of its classifier, 0 if it has none. Their names are the metadata key
                           "FAMILY.classifier.output_labels", if the file has it */
    int32_t sep_token;
    int32_t add_sep;      /* 1 if the vocabulary asks for sep_token between the two texts of a pair,
                        beside the end token of the first */
    int32_t is_recurrent; /* 1 if sequences have states: see slm_sequence_checkpoint */
    int32_t pre_status;   /* SLM_PRE_ */
    const char *pre;      /* tokenizer.ggml.pre, 0-terminated, or "" */
    int32_t eom_token;
    int32_t mask_token;
    /* Fill in the middle: a prompt is fim_pre, text, fim_suf, text, fim_mid; of several files,
     * before that fim_rep and the name of the project, fim_sep and the name of each file. */
    int32_t fim_pre_token;
    int32_t fim_suf_token;
    int32_t fim_mid_token;
    int32_t fim_pad_token;
    int32_t fim_rep_token;
    int32_t fim_sep_token;
} slm_model_info;

/* Fills *info, whose struct_size the caller has set. Any thread. */
SLM_API int slm_model_get_info(const slm_model *model, slm_model_info *info, slm_error *err);

/* Types of metadata values, numbered as in the file. */
#define SLM_TYPE_UINT8 0
#define SLM_TYPE_INT8 1
#define SLM_TYPE_UINT16 2
#define SLM_TYPE_INT16 3
#define SLM_TYPE_UINT32 4
#define SLM_TYPE_INT32 5
#define SLM_TYPE_FLOAT32 6
#define SLM_TYPE_BOOL 7
#define SLM_TYPE_STRING 8
#define SLM_TYPE_ARRAY 9
#define SLM_TYPE_UINT64 10
#define SLM_TYPE_INT64 11
#define SLM_TYPE_FLOAT64 12

/* One metadata value. Strings are as they stand in the file: not 0-terminated, not checked to be
 * UTF-8, valid as long as the model. */
typedef struct slm_metadata {
    uint32_t struct_size;
    int32_t value_type; /* SLM_TYPE_; of the elements if is_array */
    int32_t is_array;
    int32_t reserved;
    uint64_t count; /* elements of an array, else 1 */
    const char *key;
    size_t key_size;
    int64_t integer;  /* integer types and bool (uint64 values above INT64_MAX wrap) */
    double real;      /* every number as a double */
    const char *text; /* strings, else NULL */
    size_t text_size;
    const void *data; /* all elements of an array of numbers or bools as they stand in the file:
                         packed, little-endian, at any alignment, true is any byte but 0; else
                         NULL */
    size_t data_size; /* bytes */
} slm_metadata;

/* Metadata entry `index` in file order; `element` picks the element of an array (0 for others). An
 * empty array gives type and count and no value. SLM_E_ARGUMENT beyond the end. Any thread. */
SLM_API int slm_model_metadata(const slm_model *model, int32_t index, uint64_t element,
                               slm_metadata *value, slm_error *err);

/* The index of a key of size bytes, or -1 if the file has no such key. Any thread. */
SLM_API int slm_model_metadata_find(const slm_model *model, const char *key, size_t size,
                                    int32_t *index, slm_error *err);

typedef struct slm_tensor_info {
    uint32_t struct_size;
    int32_t encoding; /* for slm_encoding_find */
    const char *name; /* not 0-terminated */
    size_t name_size;
    const char *encoding_name; /* 0-terminated */
    int64_t shape[4];          /* fastest-varying dimension first, 1 where there is none */
    int32_t n_dims;
    int32_t file;    /* which file of a split model */
    uint64_t offset; /* in that file */
    uint64_t size;   /* bytes */
} slm_tensor_info;

/* Tensor `index`, in the order of the file or files. SLM_E_ARGUMENT beyond the end. Any thread. */
SLM_API int slm_model_tensor(const slm_model *model, int32_t index, slm_tensor_info *info,
                             slm_error *err);

/* ---- Text and tokens ------------------------------------------------------------------------- */

/* How text and tokens are converted:
 *     SLM_TEXT_BOS      add the start and end tokens the vocabulary asks for; decode: take them
 *                       away again
 *     SLM_TEXT_SPECIAL  encode: special tokens in the text become tokens (never set this for text
 *                       from a user); decode: they are written out rather than dropped
 *     SLM_TEXT_CLEAN    slm_detokenize alone: no space before ? ! . , 's 'm 're 've and on either
 *                       side of a lone ', for vocabularies of which llama.cpp cleans so */
#define SLM_TEXT_BOS 1u
#define SLM_TEXT_SPECIAL 2u
#define SLM_TEXT_CLEAN 4u

/* Text to token ids: exactly the model's own tokenisation. Takes time in proportion to the text (and
 * its logarithm), whatever it is; with "wordpiece", "unigram" and "rwkv" times the bytes of the
 * longest token at most. Takes scratch from the model's allocator during the call.
 * What bytes that are no UTF-8 become, and whether slm_detokenize gives the text back:
 *     "spm"        the tokens of these bytes. Given back, but U+2581 as a space
 *     "bpe"        U+FFFD for each byte. Valid text is given back; of Gemma 4 and its kin, which
 *                  have tokens for bytes, everything, but U+2581 as a space
 *     "wordpiece"  nothing: they are dropped, and so are case, accents and white space
 *     "unigram"    U+FFFD for each byte. What comes back is the text as it was normalised, without
 *                  what the vocabulary does not know
 *     "rwkv"       themselves. Everything is given back
 * SLM_E_SPACE; SLM_E_UNSUPPORTED for a vocabulary slm cannot use (it is named); SLM_E_MEMORY. Any
 * thread. */
SLM_API int slm_tokenize(const slm_model *model, const char *text, size_t size, uint32_t flags,
                         int32_t *tokens, size_t capacity, size_t *needed, slm_error *err);

/* Token ids to text: raw bytes as the vocabulary has them, nothing added, no 0 at the end. With
 * SLM_TEXT_BOS the start and end token and the space that encoding put in front are taken away
 * again. SLM_TEXT_CLEAN takes scratch from the model's allocator during the call. Any thread. */
SLM_API int slm_detokenize(const slm_model *model, const int32_t *tokens, size_t n_tokens,
                           uint32_t flags, char *text, size_t capacity, size_t *needed,
                           slm_error *err);

/* State of a token by token decoder: always 64 bytes, all zero to begin with, free to copy. */
typedef struct slm_text_stream {
    uint8_t state[64];
} slm_text_stream;

/* The most bytes that slm_decode_token writes for a token whose text has so many bytes. */
#define SLM_DECODE_MAX(n_token_bytes) ((n_token_bytes)*3 + 16)

/* The text that one more token completes: whole, valid UTF-8 characters only. The start of a
 * character is held back until its end has come; bytes that can never become one come out as
 * U+FFFD. token -1 ends the stream and gives out what is held back. On SLM_E_SPACE the stream is
 * unchanged. Any thread (one at a time per stream). */
SLM_API int slm_decode_token(const slm_model *model, slm_text_stream *stream, int32_t token,
                             uint32_t flags, char *text, size_t capacity, size_t *needed,
                             slm_error *err);

/* Kinds of tokens, as in the file. */
#define SLM_TOKEN_NORMAL 1
#define SLM_TOKEN_UNKNOWN 2
#define SLM_TOKEN_CONTROL 3
#define SLM_TOKEN_USER 4
#define SLM_TOKEN_UNUSED 5
#define SLM_TOKEN_BYTE 6

typedef struct slm_token_info {
    uint32_t struct_size;
    int32_t kind;   /* SLM_TOKEN_, 0 undefined */
    int32_t is_end; /* 1 if generation ends at this token */
    float score;
    const char *text; /* as the vocabulary stores it, not 0-terminated; the model's */
    size_t text_size;
} slm_token_info;

/* What the vocabulary says of a token. SLM_E_ARGUMENT for an id out of range. Any thread. */
SLM_API int slm_token_get_info(const slm_model *model, int32_t token, slm_token_info *info,
                               slm_error *err);

/* The id of the token stored as exactly this text, or -1. Any thread. */
SLM_API int slm_token_find(const slm_model *model, const char *text, size_t size, int32_t *token,
                           slm_error *err);

/* ---- Chat templates -------------------------------------------------------------------------- */

/* A model that was trained to talk wants a conversation written down as in its training, with special
 * tokens where messages begin and end. Its file says how in a chat template, which is a program in
 * the language Jinja; slm runs it as transformers does. What no published template uses is missing,
 * such as include, block, cycler, wordwrap, tuples as keys and whole numbers beyond 64 bits: an
 * error that names it. README.md has the list.
 *
 *     slm_chat_template *t;  slm_chat_prompt *p;  slm_chat_prompt_info info = {0};
 *     info.struct_size = sizeof info;
 *     slm_chat_template_create(&t, model, NULL, 0, NULL, &err);
 *     slm_chat_render(&p, t, "[{\"role\": \"user\", \"content\": \"Hello\"}]", size, NULL, &err);
 *     slm_chat_prompt_get_info(p, &info, &err);
 *     slm_tokenize_segments(model, info.segments, info.n_segments, info.segment_size,
 *                           SLM_TEXT_BOS, tokens, capacity, &needed, &err);
 *
 * What somebody types cannot become a special token. Rendering follows each byte from where it comes:
 * the template's own text, or the inputs. Tokenising finds special tokens only where every byte is
 * the template's. Upper case, trimming, joining, JSON: whatever a template does, bytes of the inputs
 * stay content, and so does what the engine itself makes of them. Beside the template's text only
 * these are trusted: the texts of bos_token, eos_token, unk_token and pad_token that come from the
 * model or slm_chat_template_options, numbers the template counts, and a message's role if it is
 * system, user, assistant, tool, developer, function, ipython, observation or model. */

typedef struct slm_chat_template slm_chat_template;
typedef struct slm_chat_prompt slm_chat_prompt;

typedef struct slm_chat_template_options {
    uint32_t struct_size;
    int32_t reserved;      /* 0 */
    const char *bos_token; /* 0-terminated texts of the start and end token, written as special
                              tokens; copied. NULL: the model's */
    const char *eos_token;
    slm_alloc_fn alloc; /* for the template and all that is rendered with it; any thread that
                           renders calls it. NULL: malloc and free */
    void *alloc_user;
    uint64_t max_bytes; /* cap on the heap bytes of both together; default UINT64_MAX */
} slm_chat_template_options;

SLM_API int slm_chat_template_options_init(slm_chat_template_options *options, size_t size);

/* Compiles a template: size bytes of text, or with text NULL that of the model
 * (slm_model_info.chat_template). SLM_E_UNSUPPORTED if the file has none; then a built-in one may
 * do. SLM_E_TEMPLATE tells the line. model may be NULL, and is not kept. Immutable: any number of
 * threads may render with it at a time. */
SLM_API int slm_chat_template_create(slm_chat_template **chat_template, const slm_model *model,
                                     const char *text, size_t size,
                                     const slm_chat_template_options *options, slm_error *err);

/* Gives back the caller's reference; prompts keep their template. Any thread. */
SLM_API void slm_chat_template_free(slm_chat_template *chat_template);

/* A template that many models share: a text for slm_chat_template_create. */
typedef struct slm_chat_builtin {
    uint32_t struct_size;
    int32_t index;
    const char *name; /* "chatml"; static memory, as is text */
    const char *text;
    size_t size;
} slm_chat_builtin;

/* Number `index`, or where name is not NULL the one of that name: chatml, gemma, llama2, llama3,
 * mistral, phi3, vicuna, zephyr. SLM_E_UNSUPPORTED if there is none. Any thread. */
SLM_API int slm_chat_builtin_find(int32_t index, const char *name, slm_chat_builtin *builtin,
                                  slm_error *err);

#define SLM_NO_DATE INT64_MIN

/* All JSON is UTF-8 with a size, read during the call only. */
typedef struct slm_chat_options {
    uint32_t struct_size;
    int32_t add_generation_prompt; /* default 1: end with the beginning of an answer */
    int32_t enable_thinking;       /* 0 or 1; default SLM_AUTO: the template decides */
    int32_t reserved;              /* 0 */
    const char *tools;             /* a JSON array of tools; NULL: none */
    size_t tools_size;
    const char *extra; /* a JSON object whose members are further variables of the template
                          ("documents"), or replace others; NULL: none */
    size_t extra_size;
    const char *reasoning_effort; /* 0-terminated; NULL: the template decides */
    int64_t
        now; /* seconds since 1970-01-01 00:00 on the clock on the user's wall, for templates that
                    write the date: slm reads no clock. Default SLM_NO_DATE: such a template uses its
                    own, or is SLM_E_TEMPLATE */
} slm_chat_options;

SLM_API int slm_chat_options_init(slm_chat_options *options, size_t size);

/* Renders a conversation: messages is a JSON array of objects as most servers take them (role,
 * content, tool_calls ...), or an object that has it as "messages" and whose other members are
 * variables, too ("tools"). What JSON gives replaces options of the same name.
 * SLM_E_ARGUMENT: the JSON is wrong at byte err->position. SLM_E_TEMPLATE: the template fails or
 * refuses the conversation (the message is its own), with its line; or a limit is reached.
 * The prompt keeps the template. Any thread, with 128 KiB of stack. */
SLM_API int slm_chat_render(slm_chat_prompt **prompt, const slm_chat_template *chat_template,
                            const char *messages, size_t size, const slm_chat_options *options,
                            slm_error *err);

#define SLM_SEGMENT_TEMPLATE 1 /* text in which special tokens are special tokens */
#define SLM_SEGMENT_CONTENT 2  /* text and nothing else */

typedef struct slm_chat_segment {
    uint32_t struct_size;
    int32_t kind;     /* SLM_SEGMENT_ */
    const char *text; /* not 0-terminated; may end within a character */
    size_t size;
} slm_chat_segment;

typedef struct slm_chat_prompt_info {
    uint32_t struct_size;
    int32_t n_segments;
    const slm_chat_segment *segments; /* [n_segments], neighbours of different kinds */
    size_t segment_size;
    const char *text; /* all of them, one behind the other; not 0-terminated */
    size_t size;
} slm_chat_prompt_info;

/* Pointers are valid as long as the prompt. Any thread. */
SLM_API int slm_chat_prompt_get_info(const slm_chat_prompt *prompt, slm_chat_prompt_info *info,
                                     slm_error *err);

SLM_API void slm_chat_prompt_free(slm_chat_prompt *prompt);

/* Segments, whoever made them, to tokens, as slm_tokenize would do with all of their text at once,
 * but that control tokens are found only where all bytes are the template's. So are user-defined
 * tokens written as <...> (but for HTML: <h1>, </td>) or as [WORD] in capitals: many files have what
 * frames messages, reasoning and calls as such. Other user-defined tokens, such as runs of blanks,
 * are part of ordinary text and found anywhere. segments[0..n_segments-1] are segment_size bytes
 * long each. flags: SLM_TEXT_BOS adds the start token if the vocabulary asks for
 * it and the text does not begin with it; never an end token. Errors as slm_tokenize. Any thread. */
SLM_API int slm_tokenize_segments(const slm_model *model, const slm_chat_segment *segments,
                                  int32_t n_segments, size_t segment_size, uint32_t flags,
                                  int32_t *tokens, size_t capacity, size_t *needed, slm_error *err);

/* ---- What a model answers in a chat ---------------------------------------------------------- */

/* Reasoning, the answer and tool calls, apart, as they arrive:
 *
 *     slm_chat_output_create(&o, t, NULL, &err);
 *     slm_chat_output_begin(o, prompt, &err);
 *     do {
 *         slm_generate_next(generator, &piece, &err);
 *         slm_chat_output_push(o, piece.kind, piece.text, piece.size, &err);
 *         while (slm_chat_output_next(o, &event, &err) == SLM_OK && event.kind != SLM_CHAT_NONE &&
 *                event.kind != SLM_CHAT_END) {
 *             ... event.kind, event.text, event.size ...
 *         }
 *     } while (piece.kind != SLM_PIECE_END);
 *
 * with the generator's option chat_output set to o. Texts that come from elsewhere are pushed in
 * pieces of any size, which do not matter to what comes out.
 *
 * How a model marks reasoning and calls is found out from its template: small conversations are
 * rendered, and a style is the one that reads back what was put in. A template that shows none gives
 * plain answers. What looks like a call and is none (no JSON, as with words of Python or a comma too
 * many; no name; arguments under another name; cut off) comes back as text of the answer. Of a call
 * its name, id and arguments are given out, and nothing else that stands beside them. Line breaks
 * next to a delimiter are no part of the text beside it. */

typedef struct slm_chat_output slm_chat_output;

typedef struct slm_chat_output_options {
    uint32_t struct_size;
    int32_t reserved;       /* 0 */
    const char *reasoning;  /* a style by its name, "" for none; NULL: the template's */
    const char *tool_calls; /* the same for calls. slm_chat_output_get_info tells names */
    const char *tools;      /* the tools given to the model, a JSON array, copied: arguments that
                               are not written as JSON get the types of their schemas, and a call
                               without delimiters must name one of them. NULL: all are strings */
    size_t tools_size;
    uint64_t max_call_bytes; /* a longer call is text; default 1 MiB */
    slm_alloc_fn alloc;      /* NULL: malloc and free */
    void *alloc_user;
} slm_chat_output_options;

SLM_API int slm_chat_output_options_init(slm_chat_output_options *options, size_t size);

/* chat_template NULL: the styles are those of the options, or none. It is not kept. SLM_E_ARGUMENT:
 * tools is no array of JSON; SLM_E_UNSUPPORTED: no style has that name. One thread at a time may use
 * an output. Memory: what was pushed and not read, one call, and a few KiB. */
SLM_API int slm_chat_output_create(slm_chat_output **output, const slm_chat_template *chat_template,
                                   const slm_chat_output_options *options, slm_error *err);

SLM_API void slm_chat_output_free(slm_chat_output *output);

/* Begins another answer; what has not been read of the last one is gone. The prompt tells whether
 * it ends inside reasoning; NULL: as the template's prompts do by default, which is also how a new
 * output begins. It is not kept. */
SLM_API int slm_chat_output_begin(slm_chat_output *output, const slm_chat_prompt *prompt,
                                  slm_error *err);

/* Adds a piece of the answer, copied: kind is that of an slm_piece. Of SLM_PIECE_SPECIAL only
 * delimiters count. SLM_PIECE_END ends the answer; what is held back comes out then. Bytes that are
 * not UTF-8 become U+FFFD. Any error leaves everything as it was. */
SLM_API int slm_chat_output_push(slm_chat_output *output, int32_t kind, const char *text,
                                 size_t size, slm_error *err);

#define SLM_CHAT_NONE 0      /* nothing until more is pushed */
#define SLM_CHAT_REASONING 1 /* text, size */
#define SLM_CHAT_ANSWER 2    /* text, size */
#define SLM_CHAT_TOOL_CALL 3 /* index, id, name, arguments */
#define SLM_CHAT_END 4       /* nothing more in this answer */

typedef struct slm_chat_event {
    uint32_t struct_size;
    int32_t kind;     /* SLM_CHAT_ */
    int32_t index;    /* of the call in this answer, from 0 */
    int32_t reserved; /* 0 */
    const char *text; /* whole characters of UTF-8, not 0-terminated; of a call its arguments */
    size_t size;
    const char *id;        /* of a call, 0-terminated; "": it has none */
    const char *name;      /* 0-terminated */
    const char *arguments; /* a JSON object, 0-terminated */
} slm_chat_event;

/* The next event. Pointers are valid until the next call on the output. Text comes as soon as it
 * cannot belong to a delimiter, a call when it is complete. SLM_E_MEMORY: call it again. */
SLM_API int slm_chat_output_next(slm_chat_output *output, slm_chat_event *event, slm_error *err);

typedef struct slm_chat_output_info {
    uint32_t struct_size;
    int32_t kind;           /* of what comes next: SLM_CHAT_REASONING, _ANSWER or _TOOL_CALL */
    const char *reasoning;  /* names of the styles, "" if there is none; static memory, as are */
    const char *tool_calls; /* the delimiters */
    const char *reasoning_open;
    const char *reasoning_close;
} slm_chat_output_info;

SLM_API int slm_chat_output_get_info(const slm_chat_output *output, slm_chat_output_info *info,
                                     slm_error *err);

/* ---- Threads --------------------------------------------------------------------------------- */

typedef struct slm_threads slm_threads;

/* The host's own parallel for: call task(arg, i) once for every i in 0..n-1, on any threads in any
 * order (tasks never wait for each other), and return when all have returned. */
typedef void (*slm_task_fn)(void *arg, int32_t index);
typedef void (*slm_parallel_fn)(void *user, int32_t n, slm_task_fn task, void *arg);

/* For counts: what the library thinks best, as the field says. */
#define SLM_AUTO (-1)

typedef struct slm_threads_options {
    uint32_t struct_size;
    int32_t n_threads;        /* including the calling one; default SLM_AUTO: one for each core that
                                 the affinity mask has, of the fast ones where there are two kinds,
                                 and no more than the cgroup quota pays for. At most 1024 */
    slm_parallel_fn parallel; /* the host's executor: no threads are made. n_threads then says how
                                 many tasks may run at once, a hint */
    void *parallel_user;
    slm_alloc_fn alloc;
    void *alloc_user;
} slm_threads_options;

SLM_API int slm_threads_options_init(slm_threads_options *options, size_t size);

/* Workers have 256 KiB of stack, block all signals but those of faults, sleep between calls and
 * spin for at most 100 us inside one. A pool may be shared by contexts in different threads: while
 * it works for one, the others compute on their own thread alone. SLM_E_THREAD if the system gives
 * no thread. Any thread. */
SLM_API int slm_threads_create(slm_threads **threads, const slm_threads_options *options,
                               slm_error *err);

/* Gives back the caller's reference; contexts that use the pool keep it. */
SLM_API void slm_threads_free(slm_threads *threads);

/* ---- Context --------------------------------------------------------------------------------- */

typedef struct slm_context slm_context;

/* How keys and values are kept: 16-bit floats, as the peers do, or 32-bit. */
#define SLM_KV_F16 0
#define SLM_KV_F32 1

/* How a context computes:
 *     SLM_CONTEXT_EXACT            do not round activations to 8 bits: slower, closer to the exact
 *                                  product with the quantised weights
 *     SLM_CONTEXT_BATCH_INVARIANT  the same bits however a prompt is split into batches and
 *                                  whichever sequences share a batch; slower
 * In any case the bits do not depend on the number of threads. */
#define SLM_CONTEXT_EXACT 1u
#define SLM_CONTEXT_BATCH_INVARIANT 2u

typedef struct slm_context_options {
    uint32_t struct_size;
    uint32_t flags;        /* SLM_CONTEXT_ bits; default 0 */
    int32_t n_ctx;         /* positions a sequence may have; default SLM_AUTO: min(trained, 4096) */
    int32_t n_sequences;   /* default 1, at most 256 */
    int32_t n_pages;       /* KV pages of 128 positions shared by all sequences; default SLM_AUTO:
                            enough for every sequence to be full */
    int32_t n_batch;       /* tokens computed at once; default 512, at most 4096 */
    int32_t n_logits;      /* rows of logits one slm_eval can give; default SLM_AUTO: n_sequences */
    int32_t kv_type;       /* SLM_KV_; default SLM_KV_F16 */
    int32_t n_threads;     /* a pool of the context's own; default SLM_AUTO. Unused if threads is
                            set */
    int32_t n_checkpoints; /* that a sequence can keep; default 0, at most 1024 */
    slm_threads *threads;  /* a pool to share, kept by the context; default NULL */
    slm_alloc_fn alloc;    /* NULL: malloc and free */
    void *alloc_user;
    uint64_t max_bytes; /* cap on this context's heap bytes; default UINT64_MAX */
} slm_context_options;

SLM_API int slm_context_options_init(slm_context_options *options, size_t size);

/* What a model and a context need. Exact: context_heap_bytes is the peak of the context's allocator
 * (its pool included), model_heap_bytes that of a model opened as this one without
 * SLM_LOAD_METADATA. */
typedef struct slm_plan {
    uint32_t struct_size;
    int32_t n_threads;
    int32_t n_ctx;
    int32_t n_pages;
    uint64_t model_mapped_bytes;
    uint64_t model_heap_bytes;
    uint64_t context_heap_bytes;
    uint64_t kv_bytes;    /* the part of it that is KV pages */
    uint64_t stack_bytes; /* of the pool's workers */
    uint64_t state_bytes; /* the part of context_heap_bytes that is states of recurrent layers */
} slm_plan;

/* For a context of these options on this model; nothing is allocated for good. Any thread. */
SLM_API int slm_plan_memory(const slm_model *model, const slm_context_options *options,
                            slm_plan *plan, slm_error *err);

/* Makes a context and gives the caller one reference, *context NULL on failure. All memory is taken
 * here: no later call on the context allocates, but for slm_generate_begin, whose memory comes from
 * the same hook and is outside max_bytes and the plan. Keeps the model. SLM_E_MEMORY, SLM_E_THREAD,
 * SLM_E_ARGUMENT naming the option. Any thread. */
SLM_API int slm_context_create(slm_context **context, slm_model *model,
                               const slm_context_options *options, slm_error *err);

/* Gives back the caller's reference; a generator keeps the context until its end. */
SLM_API void slm_context_free(slm_context *context);

typedef struct slm_context_info {
    uint32_t struct_size;
    int32_t n_ctx;
    int32_t n_sequences;
    int32_t n_batch;
    int32_t n_logits;
    int32_t n_pages;
    int32_t n_pages_free;
    int32_t n_threads;
    uint64_t heap_bytes;
} slm_context_info;

SLM_API int slm_context_get_info(const slm_context *context, slm_context_info *info,
                                 slm_error *err);

/* ---- Sequences ------------------------------------------------------------------------------- */

/* A sequence is a row of token positions 0..length-1 with their keys and values, numbered 0 to
 * n_sequences - 1. All begin empty. The calls below allocate nothing, and take no time to speak of
 * but for copying states, where a model has any: slm_model_info.is_recurrent says so. Such models
 * (Mamba, Qwen3.5, LFM2, Granite 4 H, RWKV and their kin) hold the past in states of fixed size,
 * which cannot be taken back by a few tokens: a checkpoint is a copy to return to. */

SLM_API int slm_sequence_length(const slm_context *context, int32_t sequence, int32_t *length,
                                slm_error *err);

/* Makes `to` a copy of `from`, checkpoints included, whatever it was before. Pages are shared until
 * one side writes. */
SLM_API int slm_sequence_fork(slm_context *context, int32_t from, int32_t to, slm_error *err);

/* Keeps the first `length` positions; 0 empties the sequence. SLM_E_ARGUMENT if it has not so
 * many, and in a recurrent model, where nothing changes then, unless `length` is 0, what it is now,
 * or that of a checkpoint. Checkpoints beyond `length` are gone afterwards. */
SLM_API int slm_sequence_rewind(slm_context *context, int32_t sequence, int32_t length,
                                slm_error *err);

/* Remembers the sequence as it is now in its checkpoint `index`, 0 to n_checkpoints - 1 of the
 * context's options, whatever that held before: slm_sequence_rewind to the present length will be
 * exact. Where the model is not recurrent every length is, and nothing is kept. */
SLM_API int slm_sequence_checkpoint(slm_context *context, int32_t sequence, int32_t index,
                                    slm_error *err);

/* ---- Evaluation ------------------------------------------------------------------------------ */

/* Logits of nothing, of the span's last token, of every token. */
#define SLM_WANT_NONE 0
#define SLM_WANT_LAST 1
#define SLM_WANT_ALL 2

/* A run of tokens for one sequence. (Embedding rows, positions per axis, bidirectional attention
 * and hidden states will be further fields.) */
typedef struct slm_span {
    uint32_t struct_size;
    int32_t sequence;
    int32_t position; /* of the first token: the sequence's length, or -1 which means that */
    int32_t n_tokens;
    const int32_t *tokens; /* [n_tokens] */
    int32_t want;          /* SLM_WANT_ */
    int32_t n_done;        /* out: how many of its tokens are committed; not set if the call could
                              not begin (SLM_E_BUSY, SLM_E_FORKED, a wrong span_size) */
} slm_span;

typedef struct slm_eval_options {
    uint32_t struct_size;
    int32_t reserved;      /* 0 */
    int64_t deadline_ns;   /* on the clock of slm_clock_ns; default SLM_NO_DEADLINE */
    const int32_t *cancel; /* polled between layers; may be set by any thread or signal handler */
    slm_progress_fn progress; /* after every batch */
    void *progress_user;
} slm_eval_options;

SLM_API int slm_eval_options_init(slm_eval_options *options, size_t size);

/* Runs the model over spans[0..n_spans-1], each span_size bytes long (sizeof(slm_span); this
 * counts, the struct_size inside is not looked at), several sequences in one batch if they fit.
 * All arguments are checked before anything changes. Tokens are committed batch by batch, a batch
 * wholly or not at all. If the call ends early, with SLM_E_CANCELLED, SLM_E_DEADLINE or another
 * error, n_done of each span says how far it came, and calling again with the rest gives what one
 * call would have given (rows of logits that are there already must be read before: each call
 * numbers its own). Under a deadline, batches are made small enough to make progress, down to one
 * token: with less time than one token takes there is none.
 * SLM_E_FULL: the tokens do not fit n_ctx or the free pages. SLM_E_SPACE: more rows of logits are
 * wanted than n_logits. SLM_E_UNSUPPORTED: the model is an encoder (slm_embed). */
SLM_API int slm_eval(slm_context *context, slm_span *spans, int32_t n_spans, size_t span_size,
                     const slm_eval_options *options, slm_error *err);

/* Row `index` (-1: the last) of the logits of the last slm_eval, [*n_vocab], numbered in the order
 * of spans and tokens wanted. Valid until the next slm_eval or slm_generate_next of the context,
 * which leaves none. n_vocab may be NULL; it is that of slm_model_info. */
SLM_API int slm_logits(const slm_context *context, int32_t index, const float **logits,
                       int32_t *n_vocab, slm_error *err);

/* ---- Embeddings ------------------------------------------------------------------------------ */

/* What slm_embed makes of a text's last hidden states, numbered as in the file:
 *     NONE  nothing: a row for each token
 *     MEAN  their mean
 *     CLS   that of the first token
 *     LAST  that of the last token
 *     RANK  the outputs of the model's classifier: of a reranker the first is the score, of query
 *           and document in one text, and a higher one is better
 * Behind all but RANK come the dense layers of the models that have some. */
#define SLM_POOLING_NONE 0
#define SLM_POOLING_MEAN 1
#define SLM_POOLING_CLS 2
#define SLM_POOLING_LAST 3
#define SLM_POOLING_RANK 4

/* Rows are brought to Euclidean length 1, but for those of RANK; or left alone. Zeros stay zeros. */
#define SLM_NORMALIZE_EUCLIDEAN 0
#define SLM_NORMALIZE_NONE 1

typedef struct slm_embed_text {
    uint32_t struct_size;
    int32_t n_tokens;
    const int32_t *tokens; /* [n_tokens] with the start and end tokens that SLM_TEXT_BOS gives */
} slm_embed_text;

typedef struct slm_embed_options {
    uint32_t struct_size;
    int32_t pooling;       /* SLM_POOLING_; default SLM_AUTO: what the file says, else NONE */
    int32_t normalize;     /* SLM_NORMALIZE_; default SLM_NORMALIZE_EUCLIDEAN */
    int32_t reserved;      /* 0 */
    int64_t deadline_ns;   /* on the clock of slm_clock_ns; default SLM_NO_DEADLINE */
    const int32_t *cancel; /* polled between layers; may be set by any thread or signal handler */
    slm_progress_fn progress; /* in tokens, after every batch */
    void *progress_user;
} slm_embed_options;

SLM_API int slm_embed_options_init(slm_embed_options *options, size_t size);

/* Embeddings of texts[0..n_texts-1], each text_size bytes long (sizeof(slm_embed_text); as with
 * spans, this counts): a row a text, with NONE a row a token, one behind the other in the order of
 * the texts. A row is n_embd_out floats, with RANK n_outputs, as slm_model_info has them. capacity
 * and *needed count floats. Texts share batches without padding, as many as
 * there are empty sequences, and room for in n_batch; other sequences are not touched, and those
 * used are empty again afterwards. The text of an encoder must fit one batch.
 * A pooling other than NONE and what the file says is SLM_E_ARGUMENT (the model was trained for one
 * of them), as are RANK without a classifier and, where each token sees only those before it, CLS.
 * SLM_E_FULL: a text is too long for n_batch, n_ctx, the free pages or the model, or no sequence is
 * empty. After SLM_E_CANCELLED and SLM_E_DEADLINE the buffer may hold anything. Logits stay valid. */
SLM_API int slm_embed(slm_context *context, const slm_embed_text *texts, int32_t n_texts,
                      size_t text_size, const slm_embed_options *options, float *rows,
                      size_t capacity, size_t *needed, slm_error *err);

/* ---- Sampling -------------------------------------------------------------------------------- */

typedef struct slm_sampler slm_sampler;

/* A chain is a row of stages; each narrows or reweighs the candidates, then one is drawn by its
 * probability. Formulas are those of the samplers of the same name in llama.cpp. A grammar will be
 * a stage, too. */
/* Kinds of stages and the fields they read; all others must be 0. Values are finite.
 *     TEMPERATURE  value: logits are divided by it; <= 0 keeps only the best
 *     TOP_K        n: keep the n best; <= 0 keeps all
 *     TOP_P        value (0 to 1): keep the likeliest that together have it, at least n of them
 *     MIN_P        value (0 to 1): keep what has at least value times the best probability, at
 *                  least n
 *     PENALTIES    n: window of accepted tokens, at most 4096 (<= 0 is off); repeat (1 is off),
 *                  frequency, presence
 *     LOGIT_BIAS   biases, n_biases: copied
 *     DYNAMIC_TEMPERATURE  value, range, exponent: a temperature from value - range to value +
 *                  range: (entropy of the candidates / the greatest possible) to the power of
 *                  exponent says where; range 0 is TEMPERATURE
 *     TOP_N_SIGMA  value: ban what lies more than value standard deviations of all logits below
 *                  the best (<= 0 is off)
 *     TYPICAL      value (0 to 1): keep those whose surprise is nearest to the expected one, as
 *                  many as together have more than value, at least n; 1 is off
 *     XTC          value (0 to 1): the probability with which, each time, all candidates that have
 *                  threshold (0 to 1, above 0.5 is off) or more are dropped but the least likely of
 *                  them, if n are left
 *     DRY          value, base (from 1), allowed, n, breakers: a token that would continue a repeat
 *                  of r >= allowed tokens loses value * base^(r - allowed). n: window of accepted
 *                  tokens, at most 4096 (<= 0 is off). No repeat goes beyond a breaker, and tokens
 *                  with one inside lose nothing. Usual: 0.8, 1.75, 2, and "\n" ":" "\"" "*"
 * and those that must be the last stage, and learn when a token is accepted that was drawn last:
 *     MIROSTAT     value (from 0): the surprise a token should have on average, in bits; rate (0 to
 *                  1): how fast it learns; n (from 2): best candidates to estimate from. Usual: 5,
 *                  0.1, 100
 *     MIROSTAT_2   value, rate: the same without an estimate
 *     ADAPTIVE_P   value (to 1): the probability that drawn tokens should have on average (< 0 is
 *                  off); decay (0 to 0.99) of what counts in it. Reweighs at the draw */
#define SLM_STAGE_TEMPERATURE 1
#define SLM_STAGE_TOP_K 2
#define SLM_STAGE_TOP_P 3
#define SLM_STAGE_MIN_P 4
#define SLM_STAGE_PENALTIES 5
#define SLM_STAGE_LOGIT_BIAS 6
#define SLM_STAGE_DYNAMIC_TEMPERATURE 7
#define SLM_STAGE_TOP_N_SIGMA 8
#define SLM_STAGE_TYPICAL 9
#define SLM_STAGE_XTC 10
#define SLM_STAGE_DRY 11
#define SLM_STAGE_MIROSTAT 12
#define SLM_STAGE_MIROSTAT_2 13
#define SLM_STAGE_ADAPTIVE_P 14

/* (Like slm_candidate it tells no size, and stays as it is.) */
typedef struct slm_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -infinity bans the token */
} slm_logit_bias;

typedef struct slm_sampler_stage {
    uint32_t struct_size;
    int32_t kind; /* SLM_STAGE_ */
    int32_t n;
    float value;
    float repeat;
    float frequency;
    float presence;
    int32_t n_biases;
    const slm_logit_bias *biases;
    float range;
    float exponent;
    float threshold;
    float base;
    int32_t allowed;
    float rate;
    float decay;
    int32_t n_breakers;          /* at most 16 */
    const char *const *breakers; /* 0-terminated strings of 1 to 40 bytes; copied */
} slm_sampler_stage;

typedef struct slm_sampler_options {
    uint32_t struct_size;
    int32_t reserved; /* 0 */
    uint64_t seed;    /* default 0; the same seed and logits give the same tokens everywhere */
    slm_alloc_fn alloc;
    void *alloc_user;
} slm_sampler_options;

SLM_API int slm_sampler_options_init(slm_sampler_options *options, size_t size);

/* Makes a chain of stages[0..n_stages-1], each stage_size bytes long (as with spans, this counts
 * and not the struct_size inside), applied in this order. No stages at all is greedy: the best
 * token, the lowest id among equals. Tokens of which the file says that they are never sampled
 * (tokenizer.ggml.suppress_tokens) have a logit of -infinity before the first stage. Keeps the
 * model. At most 64 stages; SLM_E_ARGUMENT names the stage and the field. */
SLM_API int slm_sampler_create(slm_sampler **sampler, slm_model *model,
                               const slm_sampler_stage *stages, int32_t n_stages, size_t stage_size,
                               const slm_sampler_options *options, slm_error *err);

/* Gives back the caller's reference; a generator keeps the sampler until its end. */
SLM_API void slm_sampler_free(slm_sampler *sampler);

/* A copy with the same history and random state, independent from then on. */
SLM_API int slm_sampler_clone(slm_sampler **copy, const slm_sampler *sampler, slm_error *err);

typedef struct slm_candidate {
    int32_t token;
    float logit;
    float probability; /* set by slm_sampler_choose */
} slm_candidate;

/* Chooses a token from a row of n_vocab logits: all stages, then the draw. Changes nothing but the
 * random state, and remembers what was drawn for stages that learn when it is accepted.
 * SLM_E_NUMERIC if no logit of a token that may be sampled is finite. */
SLM_API int slm_sample(slm_sampler *sampler, const float *logits, int32_t n_vocab, int32_t *token,
                       slm_error *err);

/* The same in two steps, on a list the caller owns and may change before and between: the stages
 * reorder candidates[0..*n-1] and lower *n (XTC moves the random state); choose sets probabilities
 * and draws. */
SLM_API int slm_sampler_apply(slm_sampler *sampler, slm_candidate *candidates, int32_t *n,
                              slm_error *err);
SLM_API int slm_sampler_choose(slm_sampler *sampler, slm_candidate *candidates, int32_t n,
                               int32_t *token, slm_error *err);

/* Tells the chain which token became part of the text. */
SLM_API int slm_sampler_accept(slm_sampler *sampler, int32_t token, slm_error *err);

#define SLM_REWIND_MAX 1024

/* Takes the last n accepted tokens back: the chain, its random state included, is as it was when
 * slm_sampler_accept was called with the first of them. That token had been drawn by then, so the
 * next draw takes another random number and may give another token; to get the same one, clone the
 * chain before it is drawn. n at most the tokens accepted and SLM_REWIND_MAX; INT32_MAX forgets
 * everything and starts over from the seed. */
SLM_API int slm_sampler_rewind(slm_sampler *sampler, int32_t n, slm_error *err);

/* ---- Generation ------------------------------------------------------------------------------ */

typedef struct slm_generator slm_generator;

typedef struct slm_generate_options {
    uint32_t struct_size;
    uint32_t flags;     /* SLM_TEXT_ bits for the prompt; default SLM_TEXT_BOS: the start token
                           where the sequence is empty, never an end token */
    int32_t max_tokens; /* default SLM_AUTO: until the context is full */
    int32_t n_stops;
    const char *const *stops;     /* n_stops (at most 16) 0-terminated strings of 1 to 255 bytes
                                     that end the text; copied */
    const int32_t *prompt_tokens; /* a prompt of tokens instead of text: pass text NULL, size 0 */
    int32_t n_prompt_tokens;
    int32_t special_pieces; /* 1: control tokens give pieces of SLM_PIECE_SPECIAL; default 0: they
                               have no text */
    int64_t step_ns; /* nanoseconds, more than 0, that each slm_generate_next may take, default
                              SLM_NO_DEADLINE; then it is SLM_E_DEADLINE: call it again */
    const int32_t *cancel;    /* kept until slm_generate_end; polled between layers:
                               SLM_E_CANCELLED, call again to go on */
    slm_progress_fn progress; /* kept, with progress_user, until slm_generate_end: during prefill */
    void *progress_user;
    const slm_chat_output *chat_output; /* its styles, and whether the answer begins inside
                              reasoning, are read during the call, after slm_chat_output_begin:
                              tokens are then counted by kind, and special_pieces is 1 */
    int32_t reasoning_budget; /* tokens the model may choose inside reasoning; then the end of
                                 reasoning follows as if the model had said it, and the answer.
                                 Default 0: as many as it likes. More needs a chat_output whose
                                 style has reasoning */
    int32_t heal; /* 1: token healing, for prompts that end inside a token ("http:" where "://" is
                     one): the last tokens of the prompt, 62 bytes at most, are taken back if some
                     token begins with them, and chosen anew among those that agree with them.
                     Pieces have only what lies beyond the prompt; tokens that do not reach that
                     far count as the prompt's. The first token of the prompt and special tokens
                     stay. Ended before a piece came, the sequence may lack what was taken back.
                     Default 0 */
} slm_generate_options;

SLM_API int slm_generate_options_init(slm_generate_options *options, size_t size);

/* Begins to continue the sequence with a prompt (size bytes of UTF-8). Nothing is computed yet.
 * sampler NULL is greedy. Keeps context and sampler. Until slm_generate_end the sequence is the
 * generator's: slm_eval, slm_sequence_rewind, slm_sequence_fork to it and another generator are
 * SLM_E_BUSY; other sequences are free. The sampler accepts the tokens chosen; those of the prompt
 * count for penalties only if the caller has it accept them. Allocates from the context's allocator
 * hook. */
SLM_API int slm_generate_begin(slm_generator **generator, slm_context *context, int32_t sequence,
                               slm_sampler *sampler, const char *prompt, size_t size,
                               const slm_generate_options *options, slm_error *err);

#define SLM_PIECE_TEXT 1    /* text of at least one byte */
#define SLM_PIECE_END 2     /* no more; reason says why */
#define SLM_PIECE_SPECIAL 3 /* the text of a control token, where the options ask for them */

#define SLM_END_TOKEN 1 /* the model ended its answer */
#define SLM_END_STOP 2  /* a stop string came, which is not part of the text */
#define SLM_END_LIMIT 3 /* max_tokens */
#define SLM_END_FULL 4  /* the context is full */

typedef struct slm_piece {
    uint32_t struct_size;
    int32_t kind;   /* SLM_PIECE_ */
    int32_t reason; /* SLM_END_ when kind is SLM_PIECE_END */
    int32_t n_tokens;
    const int32_t *tokens; /* [n_tokens] chosen since the last piece, all of them: those without
                              text, those whose text is held back, the end token. Valid until
                              slm_generate_end */
    const char *text; /* valid UTF-8, whole characters, not 0-terminated; valid until the next call
                         on the generator */
    size_t size;
} slm_piece;

/* The next piece of text: as many tokens as it takes to have at least one whole character that
 * cannot belong to a stop string. The first call runs the prompt. After SLM_PIECE_END the same
 * piece comes again, without tokens. Prompt and tokens are what the sequence holds, up to
 * slm_sequence_length; those that healed its end stand in place of what was taken back. */
SLM_API int slm_generate_next(slm_generator *generator, slm_piece *piece, slm_error *err);

typedef struct slm_generate_stats {
    uint32_t struct_size;
    int32_t n_prompt;      /* tokens of the prompt */
    int32_t n_prompt_done; /* of these, computed */
    int32_t n_generated;
    int64_t prompt_ns;      /* time spent on the prompt */
    int64_t generate_ns;    /* time spent on generated tokens, sampling included */
    int64_t first_token_ns; /* from begin to the first token chosen, 0 before */
    int32_t n_reasoning;    /* with chat_output: of n_generated, those of reasoning and its */
    int32_t n_answer;       /* delimiters, of the answer, */
    int32_t n_tool_calls;   /* and of tool calls */
    int32_t n_forced;       /* not chosen by the model: the end of its reasoning */
} slm_generate_stats;

SLM_API int slm_generate_get_stats(const slm_generator *generator, slm_generate_stats *stats,
                                   slm_error *err);

/* Ends and frees. The sequence keeps the prompt and every token chosen; once SLM_PIECE_END was
 * answered that includes the last one (the end token, or those of a stop string) if it fitted. */
SLM_API void slm_generate_end(slm_generator *generator);

#ifdef __cplusplus
}
#endif
#endif /* SLM_H */
