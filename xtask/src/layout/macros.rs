//! Integer macros of a header: names from gcc's preprocessor, values from a program that prints them.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::headers::{Compiler, Side};

/// What became of a header's macros.
pub struct Integers {
    /// Integer constants and their values.
    pub constants: Vec<(String, i128)>,
    /// Names of the others.
    pub others: Vec<String>,
}

/// Names and values of the header's object-like macros that are integer constants, in order of definition, without those in `known`.
pub fn integers(
    compiler: &Compiler,
    header: &str,
    side: Side,
    known: &HashSet<String>,
) -> Result<Integers> {
    let output = compiler.gcc_ok(side, &compiler.source(header, ""), &["-E", "-dD"])?;
    let text = String::from_utf8(output.stdout)?;
    let mut candidates = candidates(&text, &compiler.path_of(header));
    candidates.retain(|name| !known.contains(name));
    let all: HashSet<String> = candidates.iter().cloned().collect();
    let names = constant_ones(compiler, header, side, candidates)?;
    let constants = values(compiler, header, side, &names)?;
    let others = all
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    Ok(Integers { constants, others })
}

/// Object-like macros with a body that the header defines and nobody undefines.
fn candidates(preprocessed: &str, path: &Path) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut here = false;
    for line in preprocessed.lines() {
        if let Some(marker) = line.strip_prefix("# ") {
            here = marker
                .split('"')
                .nth(1)
                .is_some_and(|file| same_file(Path::new(file), path));
        } else if let Some(name) = line.strip_prefix("#undef ") {
            names.retain(|known| known != name.trim());
        } else if here && let Some(definition) = line.strip_prefix("#define ") {
            let (name, body) = definition.split_once(' ').unwrap_or((definition, ""));
            if !name.contains('(')
                && !body.trim().is_empty()
                && !names.iter().any(|known| known == name)
            {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// Whether two paths name one file; gcc writes them as the `#include` lines compose them, with `..` inside.
pub fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Keeps the macros that gcc takes as an integer constant. Those it complains of together are tried again alone, since one that is not
/// even an expression makes gcc complain of its neighbours.
fn constant_ones(
    compiler: &Compiler,
    header: &str,
    side: Side,
    candidates: Vec<String>,
) -> Result<Vec<String>> {
    let mut suspects = vec![false; candidates.len()];
    loop {
        let mut body = String::from("enum probe {\n");
        for (index, name) in candidates
            .iter()
            .enumerate()
            .filter(|&(index, _)| !suspects[index])
        {
            body += &format!("# {} \"probe\"\nprobe_{index} = ({name}),\n", index + 1);
        }
        body += "# 1 \"end\"\nprobe_end = 0 };\n";
        let output = compiler.gcc(
            side,
            &compiler.source(header, &body),
            &["-fsyntax-only", "-fmax-errors=0"],
        )?;
        if output.status.success() {
            break;
        }
        let messages = String::from_utf8_lossy(&output.stderr);
        let mut progress = false;
        for line in messages
            .lines()
            .filter_map(|line| line.strip_prefix("probe:"))
        {
            let number: usize = line
                .split(':')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            if (1..=candidates.len()).contains(&number) && !suspects[number - 1] {
                suspects[number - 1] = true;
                progress = true;
            }
        }
        if !progress {
            bail!("gcc does not take the header:\n{messages}");
        }
    }
    let mut kept = Vec::new();
    for (name, suspect) in candidates.into_iter().zip(suspects) {
        let body = format!("enum probe {{ probe = ({name}) }};\n");
        if !suspect
            || compiler
                .gcc(side, &compiler.source(header, &body), &["-fsyntax-only"])?
                .status
                .success()
        {
            kept.push(name);
        }
    }
    Ok(kept)
}

/// Compiles and runs a program that prints the macros.
fn values(
    compiler: &Compiler,
    header: &str,
    side: Side,
    names: &[String],
) -> Result<Vec<(String, i128)>> {
    let mut body = String::from(
        "#define PRINT(x) printf(\"%s%llu\\n\", (x) < 0 ? \"-\" : \"\", (x) < 0 ? -(unsigned long long)(x) : (unsigned long long)(x))\n\
         int main(void) {\n",
    );
    for name in names {
        body += &format!("PRINT({name});\n");
    }
    body += "return 0; }\n";
    let program = compiler.scratch("values");
    let program_name = program
        .to_str()
        .context("a temporary file's name is not UTF-8")?;
    // Functions that only the hypervisor has are called in inline functions nobody uses; optimising drops them.
    compiler.gcc_ok(
        side,
        &compiler.source(header, &body),
        &["-O1", "-o", program_name],
    )?;
    let output = Command::new(&program)
        .output()
        .context("cannot run the program that prints the macros")?;
    let text = String::from_utf8(output.stdout)?;
    let numbers = text
        .lines()
        .map(str::parse)
        .collect::<Result<Vec<i128>, _>>()?;
    if numbers.len() != names.len() {
        bail!("{} macros, {} values", names.len(), numbers.len());
    }
    Ok(names.iter().cloned().zip(numbers).collect())
}
