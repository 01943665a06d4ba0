//! `cargo xtask layers`: modules of the logic use those of their own layer and of layers above them in `lib.rs`; what does not
//! stands in `docs/layers.toml` with a reason. Also says which files are longer than 600 lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::sources;
use crate::tokens;

/// Lines that a source file should not exceed.
const MAX_LINES: usize = 600;

/// `docs/layers.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    /// By "user -> used": the reason.
    #[serde(default)]
    exception: BTreeMap<String, String>,
}

/// The check.
pub fn check() -> Result<()> {
    let root = sources::root();
    warn_of_long_files(&root)?;
    let path = root.join("docs/layers.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let allowed: Exceptions =
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let found = upward_uses(&root)?;
    let mut complaints = Vec::new();
    for (pair, files) in &found {
        if !allowed.exception.contains_key(pair) {
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            complaints.push(format!(
                "{pair}: a lower layer uses a higher one, in {}",
                files.join(", ")
            ));
        }
    }
    for pair in allowed
        .exception
        .keys()
        .filter(|pair| !found.contains_key(*pair))
    {
        complaints.push(format!(
            "docs/layers.toml allows {pair}, which does not happen any more"
        ));
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// The layer of each module, from the comments `// L0: ...` of `lib.rs`.
fn layers(lib: &str) -> BTreeMap<&str, usize> {
    let mut layer = 0;
    let mut modules = BTreeMap::new();
    for line in lib.lines() {
        if line.starts_with("// L") {
            layer += 1;
        } else if let Some(name) = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'))
        {
            modules.insert(name, layer);
        }
    }
    modules
}

/// Uses of a higher layer, "user -> used", with the files.
fn upward_uses(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let library = root.join("xen-core/src");
    let lib = fs::read_to_string(library.join("lib.rs"))?;
    let layers = layers(&lib);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (&module, &layer) in layers.iter().filter(|(module, _)| **module != "sim") {
        let mut files = sources::rust_files(&library.join(module))?;
        files.extend(Some(library.join(format!("{module}.rs"))).filter(|path| path.exists()));
        for path in files
            .iter()
            .filter(|path| !sources::shown(path).contains("/tests"))
        {
            let tokens = tokens::without_tests(tokens::read(path)?);
            for (_, used) in tokens::paths(&tokens)
                .into_iter()
                .filter(|(first, _)| *first == "crate")
            {
                if layers.get(used).is_some_and(|other| *other > layer) {
                    found
                        .entry(format!("{module} -> {used}"))
                        .or_default()
                        .insert(sources::shown(path));
                }
            }
        }
    }
    Ok(found)
}

fn warn_of_long_files(root: &Path) -> Result<()> {
    for package in [
        "hypercall-abi",
        "xen-core",
        "pv-guest-shim",
        "dom0-tools",
        "tests",
        "xtask",
    ] {
        for path in sources::rust_files(&root.join(package))? {
            let lines = fs::read_to_string(&path)?.lines().count();
            if lines > MAX_LINES {
                println!("warning: {} has {lines} lines", sources::shown(&path));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_in_the_order_of_the_file() {
        let found =
            layers("// L0: a\npub mod num;\n\n// L1: b\npub mod mm;\n#[cfg(x)]\npub mod sim;\n");
        assert_eq!(found, BTreeMap::from([("num", 1), ("mm", 2), ("sim", 2)]));
    }
}
