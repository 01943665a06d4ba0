//! The golden file: one section per header, types first, then constants.

use std::collections::HashSet;
use std::fmt::Write;

use anyhow::Result;

use super::headers::{Compiler, Side};
use super::types::{Member, TypeDescription};
use super::{macros, types};

const HEAD: &str = "\
# Layout of Xen's public interface for x86_64, written by `cargo xtask layout` from Xen's headers. Do not edit.
#
# header FILE
# struct|union NAME SIZE           a nested type without a name is called by its path, PARENT.MEMBER
#   MEMBER OFFSET SIZE             bytes
#   (MEMBER ...) OFFSET SIZE       members of an anonymous struct or union
#   [MEMBER ...] OFFSET SIZE       bitfields in one storage unit; their masks are the constants TYPE.MEMBER
# const NAME VALUE                 macros and enumerators
";

/// What one header contributes.
pub struct Section {
    header: String,
    types: Vec<TypeDescription>,
    constants: Vec<(String, i128)>,
}

impl Section {
    /// Compiles a header for both sides: all of the toolstack's view, and the constants that only the hypervisor sees.
    pub fn read(compiler: &Compiler, header: &str) -> Result<Self> {
        let seen = types::read(compiler, header, Side::Tools)?;
        let mut constants = seen.enumerators;
        let macros = macros::integers(compiler, header, Side::Tools, &HashSet::new())?;
        constants.extend(macros.constants);
        let mut known: HashSet<String> = constants.iter().map(|(name, _)| name.clone()).collect();
        let hidden = types::read(compiler, header, Side::Hypervisor)?.enumerators;
        constants.extend(
            hidden
                .into_iter()
                .filter(|(name, _)| known.insert(name.clone())),
        );
        // What is no integer for a toolstack is none for the hypervisor, so only new macros are left to try.
        known.extend(macros.others);
        constants.extend(macros::integers(compiler, header, Side::Hypervisor, &known)?.constants);
        let mut types = Vec::new();
        for described in seen.types {
            // `DECLARE_HVM_SAVE_TYPE` hides a record's type code in the length of an array.
            if let Some(record) = described.name.strip_prefix("__HVM_SAVE_TYPE_") {
                let code = described.members.iter().find_map(|member| match member {
                    Member::Field { name, size, .. } if name == "c" => Some(*size),
                    _ => None,
                });
                constants.push((
                    format!("HVM_SAVE_CODE_{record}"),
                    i128::from(code.unwrap_or(0)),
                ));
            } else {
                types.push(described);
            }
        }
        for described in &types {
            for member in &described.members {
                if let Member::Bits { masks, .. } = member {
                    constants.extend(masks.iter().map(|(name, mask)| {
                        (format!("{}.{name}", described.name), i128::from(*mask))
                    }));
                }
            }
        }
        Ok(Self {
            header: header.to_owned(),
            types,
            constants,
        })
    }

    /// Whether the header has neither types nor constants.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty() && self.constants.is_empty()
    }
}

/// The text of the golden file.
pub fn render(sections: &[Section]) -> String {
    let mut text = String::from(HEAD);
    for section in sections {
        let _ = writeln!(text, "\nheader {}", section.header);
        for described in &section.types {
            let kind = if described.is_union {
                "union"
            } else {
                "struct"
            };
            let _ = writeln!(text, "{kind} {} {}", described.name, described.size);
            for member in &described.members {
                let _ = match member {
                    Member::Field { name, offset, size } => {
                        writeln!(text, "  {name} {offset} {size}")
                    }
                    Member::Anonymous {
                        names,
                        offset,
                        size,
                    } => writeln!(text, "  ({}) {offset} {size}", names.join(" ")),
                    Member::Bits {
                        masks,
                        offset,
                        size,
                    } => {
                        let names: Vec<&str> =
                            masks.iter().map(|(name, _)| name.as_str()).collect();
                        writeln!(text, "  [{}] {offset} {size}", names.join(" "))
                    }
                };
            }
        }
        for (name, value) in &section.constants {
            let _ = writeln!(text, "const {name} {value}");
        }
    }
    text
}

/// The first line in which two golden files differ, in words.
pub fn first_difference(old: &str, new: &str) -> Option<String> {
    let mut header = "";
    let (mut old_lines, mut new_lines) = (old.lines(), new.lines());
    loop {
        match (old_lines.next(), new_lines.next()) {
            (None, None) => return None,
            (a, b) if a == b => {
                if let Some(line) = a.filter(|line| line.starts_with("header ")) {
                    header = line;
                }
            }
            (a, b) => {
                return Some(format!(
                    "{header}: the file has `{}`, the headers give `{}`",
                    a.unwrap_or("nothing"),
                    b.unwrap_or("nothing")
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn a_difference_is_named_with_its_header() {
        assert_eq!(
            first_difference("header a.h\nconst X 1\n", "header a.h\nconst X 1\n"),
            None
        );
        let found = first_difference("header a.h\nconst X 1\n", "header a.h\nconst X 2\n")
            .expect("differs");
        assert!(
            found.contains("a.h") && found.contains("X 1") && found.contains("X 2"),
            "{found}"
        );
        assert!(first_difference("header a.h\n", "header a.h\nconst X 2\n").is_some());
    }
}
