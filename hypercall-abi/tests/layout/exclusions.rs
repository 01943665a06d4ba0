//! Reads `layout.exclusions`: what Xen's headers have and the crate has not, and why.

use std::cell::Cell;

use crate::golden::{ConstantDescription, Golden};

/// What a line excludes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Everything of a header.
    Header,
    Type,
    Constant,
    /// A constant `_X` that is the bit number of the constant `X`.
    BitNumber,
}

struct Line {
    kind: Kind,
    pattern: String,
    used: Cell<bool>,
    text: String,
}

pub struct Exclusions {
    lines: Vec<Line>,
}

impl Exclusions {
    /// Lines are `header|type|const|bit-number PATTERN : REASON`, where `*` in the pattern stands for anything.
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| {
                let (item, reason) = line
                    .split_once(" : ")
                    .unwrap_or_else(|| panic!("no reason: {line}"));
                assert!(!reason.trim().is_empty(), "no reason: {line}");
                let (kind, pattern) = item
                    .trim()
                    .split_once(' ')
                    .unwrap_or_else(|| panic!("no pattern: {line}"));
                let kind = match kind {
                    "header" => Kind::Header,
                    "type" => Kind::Type,
                    "const" => Kind::Constant,
                    "bit-number" => Kind::BitNumber,
                    _ => panic!("unknown kind: {line}"),
                };
                Line {
                    kind,
                    pattern: pattern.trim().to_owned(),
                    used: Cell::new(false),
                    text: line.to_owned(),
                }
            });
        Self {
            lines: lines.collect(),
        }
    }

    /// The line that excludes a type.
    pub fn of_type(&self, name: &str, header: &str) -> Option<&str> {
        self.find(|line| match line.kind {
            Kind::Header => matches(&line.pattern, header),
            Kind::Type => matches(&line.pattern, name),
            Kind::Constant | Kind::BitNumber => false,
        })
    }

    /// The line that excludes a constant.
    pub fn of_constant(
        &self,
        name: &str,
        described: &ConstantDescription,
        golden: &Golden,
    ) -> Option<&str> {
        self.find(|line| match line.kind {
            Kind::Header => matches(&line.pattern, &described.header),
            Kind::Constant => matches(&line.pattern, name),
            Kind::BitNumber => {
                matches(&line.pattern, name) && is_bit_number(name, described.value, golden)
            }
            Kind::Type => false,
        })
    }

    /// Lines that excluded nothing so far.
    pub fn unused(&self) -> Vec<String> {
        self.lines
            .iter()
            .filter(|line| !line.used.get())
            .map(|line| line.text.clone())
            .collect()
    }

    fn find(&self, applies: impl Fn(&Line) -> bool) -> Option<&str> {
        let line = self.lines.iter().find(|line| applies(line))?;
        line.used.set(true);
        Some(&line.text)
    }
}

fn is_bit_number(name: &str, value: i128, golden: &Golden) -> bool {
    let flag = name
        .strip_prefix('_')
        .and_then(|flag| golden.constants.get(flag));
    flag.is_some_and(|flag| (0..64).contains(&value) && flag.value == 1 << value)
}

/// Whether `text` is the pattern with each `*` replaced by something.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some(at) = rest.find(middle) else {
                return false;
            };
            rest = &rest[at + middle.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[test]
fn patterns_match_whole_names() {
    assert!(
        matches("a*c", "abc")
            && matches("a*", "a")
            && matches("*", "x")
            && matches("abc", "abc")
            && matches("a*b*c", "axbyc")
    );
    assert!(!matches("a*c", "abcd") && !matches("abc", "abcd") && !matches("a*b*c", "axc"));
}
