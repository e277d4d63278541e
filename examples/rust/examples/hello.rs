//! A model tells a story: `cargo run --release --example hello -- MODEL PROMPT`.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "../models/storyteller-q8_0.gguf".into());
    let prompt = arguments.next().unwrap_or_else(|| "Once upon a time".into());
    let model = slm::Model::open(path)?;
    let mut context = slm::Context::new(&model)?;
    print!("{}", prompt);
    for piece in context.generate(&prompt, slm::GenerateOptions::new().max_tokens(200))? {
        print!("{}", piece?);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
