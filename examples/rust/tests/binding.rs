//! The binding from outside: stories, bad files, cancelled and panicking hosts, many threads, leaks.

use slm::*;
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/storyteller-q8_0.gguf");
const PROMPT: &str = "Once upon a time";

fn model() -> Model {
    Model::open(MODEL).unwrap()
}

fn context(model: &Model) -> Context {
    options().create(model).unwrap()
}

/// Batches of 64 tokens, so that long prompts have a middle.
fn options() -> ContextOptions {
    ContextOptions::new().n_ctx(256).n_sequences(2).n_batch(64).n_threads(1)
}

fn story(context: &mut Context, sequence: i32, tokens: i32) -> Result<String> {
    let options = GenerateOptions::new().sequence(sequence).max_tokens(tokens);
    context.generate(PROMPT, options)?.collect()
}

fn panics(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("a panic");
    payload.downcast_ref::<&str>().unwrap().to_string()
}

// ---- Text and files ----------------------------------------------------------------------------

#[test]
fn a_story_is_told_by_iterator_and_by_hand() {
    let model = model();
    let mut context = context(&model);
    let told = story(&mut context, 0, 24).unwrap();
    assert!(told.len() > 20, "{}", told);

    // Greedy by hand: append, look at the logits, take the best.
    let mut sampler = SamplerOptions::new().create(&model).unwrap();
    let mut decoder = model.decoder(TextFlags::NONE);
    let mut tokens = model.tokenize(PROMPT, TextFlags::BOS).unwrap();
    let mut text = String::new();
    for token in &tokens {
        decoder.push(*token).unwrap();
    }
    for _ in 0..24 {
        let next = sampler.sample(context.append(1, &tokens).unwrap()).unwrap();
        sampler.accept(next).unwrap();
        text += &decoder.push(next).unwrap();
        tokens = vec![next];
    }
    text += &decoder.finish().unwrap();
    assert_eq!(text, told);
}

#[test]
fn pieces_tell_tokens_the_end_and_counts() {
    let model = model();
    let mut context = context(&model);
    let tokens = model.tokenize(PROMPT, TextFlags::BOS).unwrap();
    let mut generator = context.generate(&tokens, GenerateOptions::new().max_tokens(8)).unwrap();
    let mut pieces = 0;
    while let Some(piece) = generator.next_piece().unwrap() {
        assert!(!piece.text.is_empty() && !piece.tokens.is_empty() && !piece.is_special);
        pieces += 1;
    }
    assert!(pieces > 0);
    assert_eq!(generator.end(), Some(End::Limit));
    let stats = generator.stats().unwrap();
    assert_eq!((stats.n_prompt as usize, stats.n_generated), (tokens.len(), 8));
    assert!(stats.prompt_time > Duration::ZERO);
    assert_eq!(generator.context().length(0).unwrap() as usize, tokens.len() + 8);
    drop(generator);

    let options = GenerateOptions::new().sequence(1).stop("time").stop("there");
    let text: String =
        context.generate("Once upon a", options).unwrap().map(|p| p.unwrap()).collect();
    assert!(!text.contains("time"), "{}", text);
}

#[test]
fn models_come_from_memory_and_readers() {
    let bytes = std::fs::read(MODEL).unwrap();
    let want = story(&mut context(&model()), 0, 12).unwrap();
    let read_with = |file: usize, offset: u64, buffer: &mut [u8]| {
        assert_eq!(file, 0);
        let from = &bytes[offset as usize..];
        let n = buffer.len().min(from.len());
        buffer[..n].copy_from_slice(&from[..n]);
        Ok(n)
    };
    let models = [
        Model::from_memory(bytes.clone()).unwrap(),
        Model::from_memory(Arc::<[u8]>::from(&bytes[..])).unwrap(),
        ModelOptions::new().read(true).open_memory(vec![bytes.clone()]).unwrap(),
        Model::from_reader(std::fs::File::open(MODEL).unwrap()).unwrap(),
        ModelOptions::new().open_with(&[bytes.len() as u64], read_with).unwrap(),
    ];
    for model in models {
        let mut context = context(&model);
        drop(model); // the context keeps it
        assert_eq!(story(&mut context, 0, 12).unwrap(), want);
    }
}

#[test]
fn metadata_tensors_and_tokens_are_told() {
    let model = model();
    let info = model.info();
    assert_eq!((info.family, info.n_vocab), ("llama", 2048));
    assert_eq!(model.metadata().count() as i32, info.n_metadata);
    let family = model.metadata_value("general.architecture").unwrap().unwrap();
    assert_eq!(family.value(), Some(Value::Text(b"llama")));
    let layers = model.metadata_value("llama.block_count").unwrap().unwrap();
    assert!(matches!(layers.value(), Some(Value::Unsigned(4))), "{:?}", layers.value());
    let texts = model.metadata_value("tokenizer.ggml.tokens").unwrap().unwrap();
    assert!(texts.is_array() && texts.count() == 2048);
    assert!(matches!(texts.element(100).unwrap(), Some(Value::Text(_))));
    assert_eq!(texts.element(1 << 40).unwrap_err().status(), Status::Argument);
    assert!(model.metadata_value("no.such.key").unwrap().is_none());
    let tensor = model.tensor(0).unwrap();
    assert!(!tensor.name.is_empty() && !tensor.shape.is_empty() && tensor.size > 0);
    assert_eq!(model.tensor(info.n_tensors).unwrap_err().status(), Status::Argument);
    let eos = info.eos_token.unwrap();
    assert!(model.token_info(eos).unwrap().is_end);
    assert_eq!(model.find_token(model.token_info(300).unwrap().text).unwrap(), Some(300));
    assert_eq!(model.find_token("no such token").unwrap(), None);
    assert!(cpu_feature_names(cpu_features()).len() <= 64 && version() > 0);
}

// ---- Bad input ---------------------------------------------------------------------------------

#[test]
fn corrupt_files_are_errors() {
    let mut bytes = std::fs::read(MODEL).unwrap();
    let error = Model::from_memory(bytes[..5000].to_vec()).unwrap_err();
    assert_eq!(error.status(), Status::Format);
    assert!(error.message().len() > 10 && error.to_string().contains("SLM_E_FORMAT"));
    bytes[0] = b'X';
    assert_eq!(Model::from_memory(bytes).unwrap_err().status(), Status::Format);
    assert_eq!(Model::open("/not/there").unwrap_err().status(), Status::Io);
    assert_eq!(Model::open("zero\0byte").unwrap_err().status(), Status::Argument);
    let none: Vec<Vec<u8>> = Vec::new();
    assert_eq!(ModelOptions::new().open_memory(none).unwrap_err().status(), Status::Argument);
    let tiny = ModelOptions::new().max_bytes(1000).open(MODEL);
    assert_eq!(tiny.unwrap_err().status(), Status::Memory);

    // What the reader failed with comes along.
    let broken =
        |_: usize, _: u64, _: &mut [u8]| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let error = ModelOptions::new().open_with(&[1 << 20], broken).unwrap_err();
    assert_eq!(error.status(), Status::Io);
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    let liar = ModelOptions::new().open_with(&[1 << 20], |_, _, buffer| Ok(buffer.len() + 1));
    assert_eq!(liar.unwrap_err().status(), Status::Io);
}

#[test]
fn wrong_arguments_are_errors() {
    let model = model();
    let mut context = context(&model);
    let status = |result: Result<()>| result.unwrap_err().status();
    assert_eq!(status(context.append(7, &[1]).map(|_| ())), Status::Argument);
    assert_eq!(status(context.append(0, &[-5]).map(|_| ())), Status::Argument);
    assert_eq!(status(context.append(0, &[]).map(|_| ())), Status::Argument);
    assert_eq!(status(context.append(0, &[1; 300]).map(|_| ())), Status::Full);
    assert_eq!(status(context.logits(0).map(|_| ())), Status::Argument);
    assert_eq!(status(context.fork(0, 9)), Status::Argument);
    assert_eq!(status(context.rewind(0, 1)), Status::Argument);
    let both = Want::All;
    let result = context.eval(&mut [Span::new(0, &[1, 2, 3]).want(both)], Limits::new());
    assert_eq!(status(result), Status::Space);
    let stop = GenerateOptions::new().stop("");
    assert_eq!(status(context.generate("a", stop).map(|_| ())), Status::Argument);
    let flat = SamplerOptions::new().temperature(f32::NAN).create(&model);
    assert_eq!(flat.unwrap_err().status(), Status::Argument);
    let mut sampler = SamplerOptions::new().create(&model).unwrap();
    assert_eq!(sampler.sample(&[f32::NAN; 2048]).unwrap_err().status(), Status::Numeric);
    assert_eq!(sampler.sample(&[0.0; 5]).unwrap_err().status(), Status::Argument);
    let mut strangers = vec![Candidate { token: 1 << 30, logit: 0.0, probability: 0.0 }];
    assert_eq!(status(sampler.apply(&mut strangers)), Status::Argument);
}

// ---- Stopping and panicking --------------------------------------------------------------------

#[test]
fn a_cancelled_generation_goes_on() {
    let model = model();
    let want = story(&mut context(&model), 0, 24).unwrap();
    let mut context = context(&model);
    let flag = CancelFlag::new();
    flag.cancel();
    let options = GenerateOptions::new().max_tokens(24).cancel(&flag);
    let mut generator = context.generate(PROMPT, options).unwrap();
    let error = generator.next().unwrap().unwrap_err();
    assert!(error.status() == Status::Cancelled && error.is_resumable());
    assert!(generator.next().is_none(), "a loop ends");
    flag.reset();

    // From another thread, in the middle.
    let mut text = generator.next().unwrap().unwrap();
    std::thread::spawn({
        let flag = flag.clone();
        move || flag.cancel()
    })
    .join()
    .unwrap();
    assert_eq!(generator.next_piece().unwrap_err().status(), Status::Cancelled);
    flag.reset();
    for piece in &mut generator {
        text += &piece.unwrap();
    }
    assert_eq!(text, want);
}

#[test]
fn deadlines_and_progress_stop_and_go_on() {
    let model = model();
    let mut context = context(&model);
    let tokens = vec![5; 200];
    let mut spans = [Span::new(0, &tokens)];
    let error = context.eval(&mut spans, Limits::new().timeout(Duration::ZERO)).unwrap_err();
    assert_eq!(error.status(), Status::Deadline);
    assert_eq!(spans[0].done(), 0);
    let stop = |_: u64, _: u64| ControlFlow::Break(());
    let error = ModelOptions::new().read(true).progress(stop).open(MODEL).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    let error = context.eval(&mut spans, Limits::new().progress(stop)).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
    let done = spans[0].done();
    assert!(done == 64 && context.length(0).unwrap() as usize == done);
    context.append(0, &tokens[done..]).unwrap();
    assert_eq!(context.length(0).unwrap() as usize, tokens.len());
}

#[test]
fn panics_of_closures_come_through_and_leave_all_usable() {
    let model = model();
    let mut context = context(&model);
    let said = panics(|| {
        let _ = ModelOptions::new().read(true).progress(|_, _| panic!("while loading")).open(MODEL);
    });
    assert_eq!(said, "while loading");
    let said = panics(|| {
        let _ = ModelOptions::new().open_with(&[1 << 20], |_, _, _| panic!("while reading"));
    });
    assert_eq!(said, "while reading");
    let said = panics(|| {
        let limits = Limits::new().progress(|_, _| panic!("in the middle"));
        let _ = context.eval(&mut [Span::new(1, &[5; 100])], limits);
    });
    assert_eq!(said, "in the middle");
    let said = panics(|| {
        let options = GenerateOptions::new().progress(|_, _| panic!("in the prompt"));
        context.generate(PROMPT, options).unwrap().for_each(drop);
    });
    assert_eq!(said, "in the prompt");

    // A log cannot stop anything: the call is done when the panic goes on.
    let said = panics(|| {
        let loud = ModelOptions::new().log(|_, _| panic!("in the log")).open(MODEL).unwrap();
        let _ = ContextOptions::new().n_ctx(100_000).n_threads(1).create(&loud);
    });
    assert_eq!(said, "in the log");

    context.rewind(0, 0).unwrap();
    assert!(story(&mut context, 0, 8).unwrap().len() > 5);
}

#[test]
fn a_panic_inside_a_call_inside_a_call_goes_all_the_way() {
    let model = model();
    let (mut outer, mut inner) = (context(&model), context(&model));
    let said = panics(|| {
        let nested = |_: u64, _: u64| {
            let limits = Limits::new().progress(|_, _| panic!("deep inside"));
            let _ = inner.eval(&mut [Span::new(0, &[5; 10])], limits);
            ControlFlow::Continue(())
        };
        let _ = outer.eval(&mut [Span::new(0, &[5; 10])], Limits::new().progress(nested));
    });
    assert_eq!(said, "deep inside");
    assert!(story(&mut outer, 1, 4).is_ok() && story(&mut inner, 1, 4).is_ok());
}

// ---- Sequences, samplers, vectors --------------------------------------------------------------

#[test]
fn forks_and_rewinds_give_the_same_logits() {
    let model = model();
    let mut context = context(&model);
    let tokens = model.tokenize(PROMPT, TextFlags::BOS).unwrap();
    let row = context.append(0, &tokens).unwrap().to_vec();
    context.fork(0, 1).unwrap();
    context.rewind(1, tokens.len() as i32 - 1).unwrap();
    let again = context.append(1, &tokens[tokens.len() - 1..]).unwrap();
    assert_eq!(row.len(), again.len());
    assert!(row.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-2));
    assert_eq!(context.checkpoint(0, 0).unwrap_err().status(), Status::Argument);
    assert_eq!(context.info().unwrap().n_sequences, 2);

    let plan = options().plan(&model).unwrap();
    assert_eq!(plan.context_heap_bytes, context.info().unwrap().heap_bytes);
}

#[test]
fn samplers_repeat_themselves_by_seed() {
    let model = model();
    let mut context = context(&model);
    let options = SamplerOptions::new()
        .penalties(64, 1.1, 0.0, 0.0)
        .top_k(40)
        .top_p(0.95, 1)
        .min_p(0.02, 1)
        .temperature(0.9)
        .seed(7);
    let mut sampler = options.create(&model).unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        sampler.reset().unwrap();
        context.rewind(0, 0).unwrap();
        let go = GenerateOptions::new().max_tokens(16).sampler(&mut sampler);
        told.push(context.generate(PROMPT, go).unwrap().collect::<Result<String>>().unwrap());
    }
    assert_eq!(told[0], told[1]);

    let mut copy = sampler.try_clone().unwrap();
    let row = vec![0.0; 2048];
    assert_eq!(copy.sample(&row).unwrap(), sampler.sample(&row).unwrap());
    let mut few: Vec<Candidate> =
        (0..100).map(|token| Candidate { token, logit: token as f32, probability: 0.0 }).collect();
    copy.apply(&mut few).unwrap();
    assert!(!few.is_empty() && few.len() <= 40);
    let chosen = copy.choose(&mut few).unwrap();
    assert!(few.iter().any(|c| c.token == chosen && c.probability > 0.0));

    let biased =
        SamplerOptions::new().logit_bias([(5, f32::NEG_INFINITY), (6, 3.0)]).temperature(0.0);
    assert_eq!(biased.create(&model).unwrap().sample(&row).unwrap(), 6);
}

#[test]
fn embeddings_have_a_row_for_each_token() {
    let model = model();
    let mut context = context(&model);
    let texts = [vec![1, 5, 9], vec![1, 7]];
    let rows = context.embed(&[&texts[0], &texts[1]], EmbedOptions::new()).unwrap();
    assert_eq!((rows.rows().count(), rows.width()), (5, model.info().n_embd as usize));
    for row in rows.rows() {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3);
    }
    let wrong = EmbedOptions::new().pooling(Pooling::Rank);
    assert_eq!(context.embed(&[&texts[0]], wrong).unwrap_err().status(), Status::Argument);
}

// ---- Chat --------------------------------------------------------------------------------------

#[test]
fn conversations_are_rendered_answered_and_taken_apart() {
    let model = model();
    let template = ChatTemplate::of_model(&model).unwrap();
    let none = ChatTemplate::builtin("no such template", &model).unwrap_err();
    assert_eq!(none.status(), Status::Unsupported);
    let messages = r#"[{"role": "user", "content": "Tell me a story about a dog."}]"#;
    let prompt = template.render(messages, &ChatOptions::new()).unwrap();
    assert_eq!(prompt.segments().map(|s| s.text.len()).sum::<usize>(), prompt.text().len());
    let mut output = ChatOutput::new(&template, None).unwrap();
    let mut context = context(&model);
    let options = GenerateOptions::new().max_tokens(24);
    let events: Vec<ChatEvent> =
        context.chat(&prompt, &mut output, options).unwrap().collect::<Result<_>>().unwrap();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| matches!(event, ChatEvent::Answer(_))), "{:?}", events);

    let wrong = template.render("[{\"role\": 5", &ChatOptions::new()).unwrap_err();
    assert!(wrong.status() == Status::Argument && wrong.position().is_some(), "{}", wrong);
    let broken = ChatTemplate::compile("{% if %}", &model).unwrap_err();
    assert_eq!((broken.status(), broken.position()), (Status::Template, Some(1)));
}

#[test]
fn tools_go_in_and_calls_come_out() {
    let model = model();
    let source =
        "{{ tools | tojson }}|{{ messages[0].content }}|{{ topic }}|{{ reasoning_effort }}";
    let template = ChatTemplate::compile(source, &model).unwrap();
    let tools = r#"[{"type": "function", "function": {"name": "look_up", "parameters": {}}}]"#;
    let options =
        ChatOptions::new().tools(tools).extra(r#"{"topic": "dogs"}"#).reasoning_effort("low");
    let prompt = template.render(r#"[{"role": "user", "content": "Hi"}]"#, &options).unwrap();
    assert!(prompt.text().contains("look_up") && prompt.text().ends_with("|Hi|dogs|low"));

    let mut output = ChatOutput::with_styles("think", "hermes", Some(tools)).unwrap();
    let answer = "<think>\nA tool.\n</think>\n\n<tool_call>\n\
                  {\"name\": \"look_up\", \"arguments\": {\"word\": \"dog\"}}\n</tool_call>";
    for piece in answer.as_bytes().chunks(3) {
        output.push(std::str::from_utf8(piece).unwrap()).unwrap();
    }
    output.end().unwrap();
    let mut call = None;
    let mut reasoning = String::new();
    loop {
        match output.next_event().unwrap().unwrap() {
            ChatEvent::Reasoning(text) => reasoning += &text,
            ChatEvent::ToolCall(found) => call = Some(found),
            ChatEvent::End => break,
            other => panic!("{:?}", other),
        }
    }
    let call = call.unwrap();
    assert_eq!((call.name.as_str(), reasoning.as_str()), ("look_up", "A tool."));
    assert!(call.arguments.contains("\"dog\""), "{}", call.arguments);
    let none = ChatOutput::with_styles("no such style", "", None);
    assert_eq!(none.unwrap_err().status(), Status::Unsupported);
}

// ---- Threads and memory ------------------------------------------------------------------------

#[test]
fn threads_share_a_model_and_a_pool() {
    let model = model();
    let want = story(&mut context(&model), 0, 16).unwrap();
    let pool = Threads::new(2).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let options = ContextOptions::new().n_ctx(128).threads(&pool);
                let mut context = options.create(&model).unwrap();
                assert_eq!(story(&mut context, 0, 16).unwrap(), want);
            });
        }
    });
}

#[test]
fn an_executor_of_the_host_computes_the_same_even_if_it_is_lazy_or_panics() {
    let model = model();
    let want = story(&mut context(&model), 0, 8).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let parallel = move |tasks: &Tasks| {
        std::thread::scope(|scope| {
            scope.spawn(|| while tasks.run_one() {});
            while tasks.run_one() {}
        });
        counted.fetch_add(tasks.count(), Ordering::Relaxed);
    };
    let told = |pool: Threads| {
        let mut context = ContextOptions::new().n_ctx(128).threads(&pool).create(&model).unwrap();
        story(&mut context, 0, 8)
    };
    assert_eq!(told(Threads::with_executor(2, parallel).unwrap()).unwrap(), want);
    assert!(ran.load(Ordering::Relaxed) > 100);
    assert_eq!(told(Threads::with_executor(2, |_| {}).unwrap()).unwrap(), want);
    let said = panics(|| {
        let _ = told(Threads::with_executor(2, |_| panic!("in a task")).unwrap());
    });
    assert_eq!(said, "in a task");
}

#[test]
fn a_panic_of_an_executor_is_its_last_call_and_stops_what_runs() {
    let model = model();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let pool = Threads::with_executor(2, move |tasks| {
        tasks.run_one();
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("in a task");
        }
    })
    .unwrap();
    let mut context = options().threads(&pool).create(&model).unwrap();
    let tokens = [5; 200];
    let mut told = 0;
    let said = panics(|| {
        let limits = Limits::new().progress(|_, _| {
            told += 1;
            ControlFlow::Continue(())
        });
        let _ = context.eval(&mut [Span::new(0, &tokens)], limits);
    });
    assert_eq!(said, "in a task");
    assert_eq!((calls.load(Ordering::Relaxed), told), (1, 0));
    assert_eq!(context.length(0).unwrap(), 64); // the batch that it was in
    context.append(0, &tokens[64..]).unwrap();

    // Without a progress of the host's, and in a generation.
    calls.store(0, Ordering::Relaxed);
    context.rewind(0, 0).unwrap();
    panics(|| drop(context.append(0, &tokens)));
    assert_eq!(context.length(0).unwrap(), 64);
    calls.store(0, Ordering::Relaxed);
    let mut generator = context.generate(&tokens[..], GenerateOptions::new().sequence(1)).unwrap();
    panics(|| drop(generator.next_piece()));
    assert_eq!(generator.stats().unwrap().n_prompt_done, 64);
    assert!(generator.next_piece().is_ok());
}

#[test]
fn the_log_is_heard_on_the_thread_of_the_call() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let here = std::thread::current().id();
    let model = ModelOptions::new()
        .log(move |level, line| {
            assert_eq!(std::thread::current().id(), here);
            heard.lock().unwrap().push((level, line.to_string()));
        })
        .open(MODEL)
        .unwrap();
    let _ = ContextOptions::new().n_ctx(5000).n_threads(1).create(&model);
    assert!(lines
        .lock()
        .unwrap()
        .iter()
        .any(|(level, line)| { *level == LogLevel::Warning && line.contains("5000") }));
}

#[cfg(unix)]
#[test]
fn whatever_ends_how_everything_is_given_back() {
    use std::os::raw::c_void;
    static BYTES: AtomicI64 = AtomicI64::new(0);
    static BLOCKS: AtomicI64 = AtomicI64::new(0);

    unsafe extern "C" fn counted(
        _: *mut c_void,
        ptr: *mut c_void,
        old: usize,
        new: usize,
        align: usize,
    ) -> *mut c_void {
        use std::alloc::{alloc, dealloc, Layout};
        if new == 0 {
            BLOCKS.fetch_sub(1, Ordering::Relaxed);
            BYTES.fetch_sub(old as i64, Ordering::Relaxed);
            dealloc(ptr as *mut u8, Layout::from_size_align_unchecked(old, align));
            return std::ptr::null_mut();
        }
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(new as i64, Ordering::Relaxed);
        alloc(Layout::from_size_align_unchecked(new, align)) as *mut c_void
    }

    // SAFETY: a static function without data.
    let model_options =
        || unsafe { ModelOptions::new().allocator(Some(counted), std::ptr::null_mut()) };
    let context_options = unsafe {
        ContextOptions::new().n_ctx(64).n_threads(2).allocator(Some(counted), std::ptr::null_mut())
    };

    let model = model_options().open(MODEL).unwrap();
    let mut a = context_options.create(&model).unwrap();
    assert!(BLOCKS.load(Ordering::Relaxed) > 1 && BYTES.load(Ordering::Relaxed) > 100_000);
    let copy = model.clone();
    drop(model);
    story(&mut a, 0, 4).unwrap();
    let flag = CancelFlag::new();
    flag.cancel();
    a.rewind(0, 0).unwrap();
    let stopped = a.generate(PROMPT, GenerateOptions::new().cancel(&flag)).unwrap().next();
    assert_eq!(stopped.unwrap().unwrap_err().status(), Status::Cancelled);
    panics(|| {
        let options = GenerateOptions::new().progress(|_, _| panic!("stop"));
        a.generate(PROMPT, options).unwrap().for_each(drop);
    });
    panics(|| drop(model_options().read(true).progress(|_, _| panic!("stop")).open(MODEL)));
    drop(model_options().open_memory(vec![vec![0u8; 100]]).unwrap_err());
    drop((copy, a));
    assert_eq!(BLOCKS.load(Ordering::Relaxed), 0);
    assert_eq!(BYTES.load(Ordering::Relaxed), 0);
}
