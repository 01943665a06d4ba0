//! Options: each one that the hypervisor reads has its line in `docs/options.md`, and no other.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use crate::sources;
use crate::tokens::{self, Token};

/// What is wrong with the page of options.
pub fn check() -> Result<Vec<String>> {
    let root = sources::root();
    let read = read_by_the_hypervisor(&tokens::read(&root.join("xen-core/src/boot/options.rs"))?);
    let path = root.join("docs/options.md");
    let page =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let described = described(&page);
    let undescribed = read
        .difference(&described)
        .map(|name| format!("docs/options.md does not describe {name}"));
    let unknown = described
        .difference(&read)
        .map(|name| format!("docs/options.md describes {name}, which is no option"));
    Ok(undescribed.chain(unknown).collect())
}

/// The strings that the functions which look up names match against.
fn read_by_the_hypervisor(source: &[Token]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for function in tokens::functions(source) {
        if !matches!(function.name, "boolean_place" | "apply_valued") {
            continue;
        }
        let arms = match_on_name(function.body).unwrap_or_default();
        for window in arms.windows(3) {
            if let [name, equals, arrow] = window
                && equals.is('=')
                && arrow.is('>')
            {
                names.extend(name.string());
            }
        }
    }
    names
}

/// The arms of `match name { ... }`.
fn match_on_name(tokens: &[Token]) -> Option<&[Token]> {
    for (index, token) in tokens.iter().enumerate() {
        let rest = &tokens[index..];
        if let [
            Token::Word(keyword),
            Token::Word(subject),
            Token::Group(_, arms),
            ..,
        ] = rest
            && keyword == "match"
            && subject == "name"
        {
            return Some(arms);
        }
        if let Token::Group(_, inner) = token
            && let Some(found) = match_on_name(inner)
        {
            return Some(found);
        }
    }
    None
}

/// Names in the first column of the page's tables.
fn described(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.split('=').next().unwrap_or(name).to_owned())
        .collect()
}
