//! Links in documents: files, headings, and that the book's summary names every page.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use regex::Regex;

use crate::sources;

/// What is wrong with links.
pub fn check() -> Result<Vec<String>> {
    let root = sources::root();
    let book = root.join("docs");
    let mut pages = sources::files(&book, "md")?;
    let summary = read(&book.join("SUMMARY.md"))?;
    let mut complaints = Vec::new();
    for page in &pages {
        let name = page
            .strip_prefix(&book)
            .unwrap_or(page)
            .to_string_lossy()
            .into_owned();
        if name != "SUMMARY.md" && !summary.contains(&format!("({name})")) {
            complaints.push(format!("docs/SUMMARY.md does not name {name}"));
        }
    }
    pages.push(root.join("README.md"));
    pages.push(root.join("CONTRIBUTING.md"));
    let link = Regex::new(r"\]\(([^)\s]+)\)")?;
    for page in &pages {
        let text = without_code(&read(page)?);
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if !target.contains("://") && !resolves(page, target)? {
                complaints.push(format!("{}: nothing is at {target}", sources::shown(page)));
            }
        }
    }
    complaints.extend(paths(&root, &pages)?);
    Ok(complaints)
}

/// Source files that are named between backquotes: they are paths from the top, or from the folder of the logic.
fn paths(root: &Path, pages: &[std::path::PathBuf]) -> Result<Vec<String>> {
    let named = Regex::new(r"`([\w./-]+/[\w.-]+\.(?:rs|S|toml)|[\w-]+(?:/[\w-]+)*/)`")?;
    let bases = [
        "",
        "xen-core/src",
        "xen-core",
        "dom0-tools/src",
        "xtask/src",
        "tests/src",
    ]
    .map(|base| root.join(base));
    let mut complaints = Vec::new();
    for page in pages {
        for found in named.captures_iter(&without_code(&read(page)?)) {
            let path = &found[1];
            let generated = path.starts_with("target/");
            if !generated && !bases.iter().any(|base| base.join(path).exists()) {
                complaints.push(format!("{}: there is no {path}", sources::shown(page)));
            }
        }
    }
    Ok(complaints)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text without fenced blocks, where brackets mean other things.
fn without_code(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

fn resolves(page: &Path, target: &str) -> Result<bool> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        page.to_path_buf()
    } else {
        page.parent().unwrap_or(page).join(file)
    };
    if !path.exists() {
        return Ok(false);
    }
    if heading.is_empty() {
        return Ok(true);
    }
    let text = read(&path)?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line) == heading))
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ if letter.is_alphanumeric() => Some(letter),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors() {
        assert_eq!(anchor("## Walk 2: `mmu_update`"), "walk-2-mmu_update");
    }

    #[test]
    fn code_is_left_out() {
        assert_eq!(without_code("a\n```text\n[b](c)\n```\nd"), "a\nd");
    }
}
