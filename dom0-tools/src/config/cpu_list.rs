//! Lists of processors, as `cpus=` and `vcpu-pin` take them: "all", "0-3,5,^1".

use std::fmt;

use crate::xen::domctl::CpuSet;

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuListError(pub String);

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CpuListError {}

/// The set that `text` names of a machine with `cpus` processors.
///
/// # Errors
/// An element is no processor, range or exclusion.
pub fn parse(text: &str, cpus: u32) -> Result<CpuSet, CpuListError> {
    let mut set = CpuSet::none(cpus);
    for element in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (exclude, range) = match element.strip_prefix('^') {
            Some(range) => (true, range.trim()),
            None => (false, element),
        };
        let (first, last) = bounds(range, cpus).ok_or_else(|| {
            CpuListError(format!(
                "\"{element}\" is not a processor of this machine: expected numbers below {cpus}, ranges such as 0-3, ^1 to leave one out, or all"
            ))
        })?;
        for cpu in first..=last {
            if exclude {
                set.remove(cpu);
            } else {
                set.insert(cpu);
            }
        }
    }
    if set.is_empty() {
        return Err(CpuListError(format!("\"{text}\" leaves no processor")));
    }
    Ok(set)
}

fn bounds(range: &str, cpus: u32) -> Option<(u32, u32)> {
    if range == "all" {
        return Some((0, cpus.checked_sub(1)?));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    // A range may reach past the machine's processors, as xl allows it, but must begin among them.
    (first <= last && first < cpus).then_some((first, last.min(cpus - 1)))
}
