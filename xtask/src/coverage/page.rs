//! The page's text.

use std::fmt::{self, Display, Write};

use super::evidence::Test;
use super::{Row, Section};

impl Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            write!(f, "boot {}", self.name)
        } else {
            write!(f, "{}#{}", self.file, self.name)
        }
    }
}

/// A test as a reader sees it: a link for a function, a name for a boot test.
fn link(test: &Test) -> String {
    if test.file.is_empty() {
        return format!("boot test `{}`", test.name);
    }
    format!("[`{}`](../{})", test.name, test.file)
}

fn links(tests: &[Test]) -> String {
    tests.iter().map(link).collect::<Vec<_>>().join(", ")
}

const HEAD: &str = "\
# Hypercall coverage

<!-- Made by `cargo xtask coverage` from the code; what cannot be derived is in hypercall-coverage.toml. Do not edit. -->

Every hypercall and every number that Xen 4.17's public headers define for it, what becomes of it here, and a test that shows
it. *works*: the door acts on it. An errno: the door answers that, and the note says why. Numbers that no door names get the
errno of unknown numbers, as on a Xen built without them.

";

/// The whole page.
pub fn render(sections: &[Section]) -> String {
    let mut out = HEAD.to_owned();
    let _ = overview(&mut out, sections);
    for section in sections {
        let _ = detail(&mut out, section);
    }
    out
}

fn overview(out: &mut String, sections: &[Section]) -> fmt::Result {
    writeln!(
        out,
        "| nr | hypercall | numbers that work | refused | test |"
    )?;
    writeln!(out, "|---:|---|---:|---:|---|")?;
    for section in sections {
        let refused = section.rows.iter().filter(|row| row.is_refused).count();
        let works = section.rows.len() - refused;
        let name = if section.rows.is_empty() {
            section.name.clone()
        } else {
            format!("[{0}](#{0})", section.name)
        };
        match &section.door {
            None => writeln!(
                out,
                "| {} | {name} | -ENOSYS | | {} |",
                section.value, section.note
            )?,
            Some(_) if section.rows.is_empty() => {
                writeln!(
                    out,
                    "| {} | {name} | works | | {} |",
                    section.value,
                    links(&section.tests)
                )?;
            }
            Some(_) => writeln!(
                out,
                "| {} | {name} | {works} | {refused} | |",
                section.value
            )?,
        }
    }
    writeln!(out)
}

fn detail(out: &mut String, section: &Section) -> fmt::Result {
    if section.rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "## {}\n", section.name)?;
    if !section.note.is_empty() {
        writeln!(out, "{}\n", section.note)?;
    }
    let Some(door) = &section.door else {
        writeln!(out, "Not routed: every number is -ENOSYS.\n")?;
        let names: Vec<_> = section
            .rows
            .iter()
            .map(|row| format!("`{}` ({})", row.name, row.value))
            .collect();
        return writeln!(out, "{}\n", names.join(", "));
    };
    writeln!(out, "Door: [`{door}`](../{door})\n")?;
    writeln!(out, "| nr | name | state | test | note |")?;
    writeln!(out, "|---:|---|---|---|---|")?;
    for Row {
        name,
        value,
        state,
        note,
        tests,
        ..
    } in &section.rows
    {
        writeln!(
            out,
            "| {value} | `{name}` | {state} | {} | {note} |",
            links(tests)
        )?;
    }
    writeln!(out)
}
