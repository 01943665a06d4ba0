//! The lock order: the table in `docs/locking.md` has the ranks of `sync/rank.rs`, in their order.

use std::fs;

use anyhow::{Context, Result};

use crate::sources;
use crate::tokens::{self, Token};

/// What is wrong with the table.
pub fn check() -> Result<Vec<String>> {
    let root = sources::root();
    let code = ranks(&tokens::read(&root.join("xen-core/src/sync/rank.rs"))?);
    let path = root.join("docs/locking.md");
    let page =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let table = rows(&page);
    if code == table {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "docs/locking.md has the ranks {}, the code {}",
        table.join(" "),
        code.join(" ")
    )])
}

/// Names that get a number, in order of the numbers.
fn ranks(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for window in tokens.windows(3) {
        if let [Token::Word(name), equals, Token::Literal(number)] = window
            && equals.is('=')
            && let Ok(number) = number.parse::<u32>()
        {
            found.push((number, name.clone()));
        }
    }
    found.sort();
    let mut names: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
    for token in tokens {
        if let Token::Group(_, inner) = token {
            names.extend(ranks(inner));
        }
    }
    names
}

/// First column of the table whose head is "rank".
fn rows(page: &str) -> Vec<String> {
    page.lines()
        .skip_while(|line| !line.starts_with("| rank |"))
        .skip(2)
        .map_while(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(name, _)| name.to_owned())
        .collect()
}
