//! Compares what Linux logs on two hypervisors: times, addresses and sizes are masked, then every line of ours
//! must also be one of the reference's, or be named in an allow-list with a reason.

use anyhow::{Context, Result, bail};
use regex::Regex;
use std::collections::BTreeMap;

/// The part of a transcript between the marks of the `dmesg` check, without the hypervisor's own lines.
pub fn kernel_log(transcript: &str) -> Result<Vec<String>> {
    let begin = transcript
        .find("DMESG BEGIN\n")
        .context("the kernel's log was not printed")?;
    let rest = &transcript[begin..];
    let end = rest
        .find("DMESG END")
        .context("the kernel's log is cut off")?;
    let lines = rest[..end]
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("(XEN)"));
    Ok(lines.map(str::to_owned).collect())
}

/// The level of a warning; worse ones are lower.
pub const WARNING: u32 = 4;

/// The level of a line as `dmesg -r` prints it: 0 for an emergency to 7 for debugging. The facility above it is dropped.
pub fn level(line: &str) -> Option<u32> {
    let number = line.strip_prefix('<')?.split('>').next()?;
    Some(number.parse::<u32>().ok()? & 7)
}

/// Masks what differs from boot to boot.
pub struct Mask {
    rules: Vec<(Regex, &'static str)>,
}

impl Mask {
    /// The rules, applied in order.
    pub fn new() -> Result<Self> {
        let rules = [
            // "<6>[    1.234567] " is a level and a time; the facility above bit 3 says nothing.
            (r"^<(\d+)>\[ *\d+\.\d+\] ?", "<$1> "),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "#"),
            (r"0x[0-9a-fA-F]+", "#"),
            // Sizes, rates, counts of pages, identifiers and times; small numbers keep their meaning.
            (r"\b\d+\.\d+(:\d+)?", "#"),
            (r"\b[0-9a-fA-F]{8,}\b", "#"),
            (r"\b\d{4,}", "#"),
            (r"\b\d+(ns|us|ms|s|K|KB|kB|MB|MiB|usecs|secs)\b", "#$1"),
            // Columns are padded to the width of the numbers in them.
            (r"[ \t]+", " "),
        ];
        let rules = rules
            .into_iter()
            .map(|(pattern, mask)| Ok((Regex::new(pattern)?, mask)));
        Ok(Self {
            rules: rules.collect::<Result<_>>()?,
        })
    }

    /// `line` without what differs from boot to boot.
    pub fn apply(&self, line: &str) -> String {
        let masked = self
            .rules
            .iter()
            .fold(line.to_owned(), |line, (pattern, mask)| {
                pattern.replace_all(&line, *mask).into_owned()
            });
        masked.trim().to_owned()
    }
}

/// Lines that may differ, each with a reason.
pub struct AllowList {
    entries: Vec<Regex>,
}

impl AllowList {
    /// Read paragraphs of `# reason` lines followed by patterns. A pattern without a reason is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        let mut has_reason = false;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            match line.trim() {
                "" => has_reason = false,
                reason if reason.starts_with('#') => has_reason = true,
                _ if !has_reason => {
                    bail!("line {number}: a pattern needs a line with its reason above it")
                }
                pattern => {
                    let pattern = Regex::new(pattern).with_context(|| format!("line {number}"))?;
                    entries.push(pattern);
                }
            }
        }
        Ok(Self { entries })
    }

    fn allows(&self, line: &str) -> bool {
        self.entries.iter().any(|entry| entry.is_match(line))
    }
}

/// What two logs do not share, in the order of appearance.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Lines of ours that the reference does not have and the allow-list does not name.
    pub added: Vec<String>,
    /// Lines of ours that only the allow-list explains.
    pub allowed: Vec<String>,
    /// Lines of the reference that ours does not have.
    pub missing: Vec<String>,
}

/// Compare two logs line by line, wherever the lines stand. As they are when unmasked lines are shown.
pub fn difference(
    ours: &[String],
    reference: &[String],
    mask: &Mask,
    allow: &AllowList,
) -> Difference {
    let mut stock: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for line in reference {
        stock.entry(mask.apply(line)).or_default().push(line);
    }
    let mut difference = Difference::default();
    for line in ours {
        let masked = mask.apply(line);
        if stock.get_mut(&masked).and_then(Vec::pop).is_some() {
            continue;
        }
        let list = if allow.allows(&masked) {
            &mut difference.allowed
        } else {
            &mut difference.added
        };
        list.push(line.clone());
    }
    difference.missing = stock.into_values().flatten().cloned().collect();
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_log_is_cut_from_its_transcript() {
        let transcript =
            "boot\nDMESG BEGIN\n<6>[ 0.1] a\n(XEN) noise\n<4>[ 0.2] b\nDMESG END\nrest\n";
        assert_eq!(
            kernel_log(transcript).unwrap(),
            ["<6>[ 0.1] a", "<4>[ 0.2] b"]
        );
        assert!(kernel_log("DMESG BEGIN\n<6>[ 0.1] a\n").is_err());
    }

    #[test]
    fn times_addresses_and_sizes_are_masked_and_levels_kept() {
        let mask = Mask::new().unwrap();
        let one = mask.apply("<6>[    0.123456] tsc: Detected 2496.001 MHz at 0xfee00000, 8192K");
        let two = mask.apply("<6>[    9.000001] tsc: Detected 2400.5 MHz at 0xfec00000, 16K");
        assert_eq!(one, two);
        assert_ne!(
            mask.apply("<4>[ 1.0] 2 processors"),
            mask.apply("<6>[ 1.0] 2 processors")
        );
        assert_ne!(
            mask.apply("<6>[ 1.0] 2 processors"),
            mask.apply("<6>[ 1.0] 4 processors")
        );
    }

    #[test]
    fn levels_are_read_without_their_facility() {
        assert_eq!(level("<4>[ 1.0] careful"), Some(WARNING));
        assert_eq!(level("<30>[ 1.0] from user space"), Some(6));
        assert_eq!(level("careful"), None);
    }

    #[test]
    fn only_unexplained_lines_of_ours_count() {
        let allow =
            AllowList::parse("# A heading.\n\n# The clock is another one.\n^<6> clock\n").unwrap();
        let ours = lines(&[
            "<6>[ 1.0] same",
            "<6>[ 1.0] same",
            "<6>[ 1.1] clock of ours",
        ]);
        let reference = lines(&["<6>[ 2.0] same", "<6>[ 2.1] clock of theirs"]);
        let found = difference(&ours, &reference, &Mask::new().unwrap(), &allow);
        assert_eq!(found.added, ["<6>[ 1.0] same"]);
        assert_eq!(found.allowed, ["<6>[ 1.1] clock of ours"]);
        assert_eq!(found.missing, ["<6>[ 2.1] clock of theirs"]);
    }

    #[test]
    fn a_pattern_needs_a_reason() {
        assert!(AllowList::parse("# reason\nfirst\nsecond\n").is_ok());
        assert!(AllowList::parse("# heading\n\npattern\n").is_err());
    }
}
