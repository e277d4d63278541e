//! Compiles slm.c with the system's C compiler into a static library. No crate and no network: cc and
//! ar are all it takes. CC, AR and CFLAGS are read as the cc crate reads them, with the target or
//! TARGET_ in front when compiling for another machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// CC_aarch64-unknown-linux-gnu, CC_aarch64_unknown_linux_gnu, TARGET_CC or CC: the first there is.
fn setting(name: &str) -> Option<String> {
    let target = env::var("TARGET").unwrap();
    let kind = if target == env::var("HOST").unwrap() { "HOST" } else { "TARGET" };
    let names = [
        format!("{}_{}", name, target),
        format!("{}_{}", name, target.replace('-', "_")),
        format!("{}_{}", kind, name),
        name.to_string(),
    ];
    for name in &names {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    names.iter().find_map(|name| env::var(name).ok())
}

/// The program of a setting such as "ccache gcc", or the default. When cross-compiling, Debian's
/// names: aarch64-linux-gnu-gcc.
fn tool(name: &str, default: &str, cross: &str) -> Command {
    let target = env::var("TARGET").unwrap();
    let words = setting(name).unwrap_or_else(|| match target == env::var("HOST").unwrap() {
        true => default.to_string(),
        false => format!("{}-{}", target.replace("-unknown", ""), cross),
    });
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or(default));
    command.args(words);
    command
}

fn run(mut command: Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{:?}: {}", command, status),
        Err(error) => panic!("{:?}: {}; a C compiler and ar are needed", command, error),
    }
}

/// The folder of slm.c: the repository around this crate, or vendor/ in a package, where `make dist`
/// has put all of slm into one file.
fn source() -> PathBuf {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap());
    let folders = [here.join("../.."), here.join("vendor")];
    let is_source =
        |folder: &&PathBuf| folder.join("slm.c").exists() && folder.join("slm.h").exists();
    match folders.iter().find(is_source) {
        Some(folder) => folder.clone(),
        None => panic!("no slm.c in {} or {}", folders[0].display(), folders[1].display()),
    }
}

fn watch(folder: &Path) {
    for name in ["slm.c", "slm.h", "src", "kernels"] {
        if folder.join(name).exists() {
            println!("cargo:rerun-if-changed={}", folder.join(name).display());
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
}

fn main() {
    let folder = source();
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let object = out.join("slm.o");
    let library = out.join("libslm.a");
    watch(&folder);

    let mut compiler = tool("CC", "cc", "gcc");
    compiler.arg(format!("-O{}", env::var("OPT_LEVEL").unwrap().replace('z', "s")));
    if env::var("DEBUG").unwrap() != "false" {
        compiler.arg("-g");
    }
    compiler.args(["-fPIC", "-pthread"]);
    compiler.args(setting("CFLAGS").unwrap_or_default().split_whitespace());
    run({
        compiler.arg("-c").arg(folder.join("slm.c")).arg("-o").arg(&object);
        compiler
    });

    // ar adds to a library that is there already.
    let _ = std::fs::remove_file(&library);
    run({
        let mut ar = tool("AR", "ar", "ar");
        ar.arg("crs").arg(&library).arg(&object);
        ar
    });
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=slm");
    println!("cargo:include={}", folder.display());
}
