//! `cargo xtask layout`: derives `hypercall-abi/tests/layout.golden` from Xen's own public headers with a C compiler.
//!
//! Nothing in the golden file is typed by hand: types come from the DWARF that gcc writes, macros from its preprocessor and from a program
//! that prints their values. `hypercall-abi/tests/layout.rs` compares the crate with the file.

mod dwarf;
mod golden;
mod headers;
mod macros;
mod types;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xenolith_tests::artifacts::xen_headers;

/// Arguments of `cargo xtask layout`.
#[derive(clap::Args, Debug)]
pub struct LayoutArgs {
    /// Directory with Xen's public headers, instead of those of Debian's package libxen-dev
    #[arg(long, value_name = "FOLDER")]
    pub headers: Option<PathBuf>,
    /// Change nothing; fail if the golden file differs from what the headers say
    #[arg(long)]
    pub check: bool,
}

/// Regenerates the golden file, or with `--check` compares it.
pub fn run(args: LayoutArgs) -> Result<()> {
    let path = golden_path();
    let headers = args.headers.map_or_else(xen_headers, Ok)?;
    let text = generate(&headers)?;
    if !args.check {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
        return Ok(());
    }
    let old =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match golden::first_difference(&old, &text) {
        None => Ok(()),
        Some(difference) => bail!(
            "{} does not agree with the headers in {}: {difference}",
            path.display(),
            headers.display()
        ),
    }
}

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hypercall-abi/tests/layout.golden")
}

fn generate(directory: &Path) -> Result<String> {
    let compiler = headers::Compiler::new(directory)?;
    let mut sections = Vec::new();
    for header in compiler.headers()? {
        let contents =
            golden::Section::read(&compiler, &header).with_context(|| format!("in {header}"))?;
        if !contents.is_empty() {
            sections.push(contents);
        }
    }
    Ok(golden::render(&sections))
}
