//! System locality distance information table (ACPI 6.5, 5.2.17): how far proximity domains are apart.

use arrayvec::ArrayVec;

use crate::boot::bytes::u64_at;

/// Distance of a domain from itself.
pub const LOCAL: u8 = 10;
/// More domains than any machine has; bounds what is believed.
const MAX_DOMAINS: usize = 64;

/// The table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Slit {
    domains: usize,
    distances: ArrayVec<u8, { MAX_DOMAINS * MAX_DOMAINS }>,
}

impl Slit {
    /// Distance from one proximity domain to another, if the table has it.
    #[must_use]
    pub fn distance(&self, from: u32, to: u32) -> Option<u8> {
        let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
        if from >= self.domains || to >= self.domains {
            return None;
        }
        self.distances.get(from * self.domains + to).copied()
    }
}

/// Reads the table's body (after the header). A table that calls a domain nearer to another than to itself is none.
pub fn parse(body: &[u8]) -> Option<Slit> {
    let domains = usize::try_from(u64_at(body, 0)?)
        .ok()
        .filter(|domains| (1..=MAX_DOMAINS).contains(domains))?;
    let distances = body.get(8..8 + domains * domains)?;
    let sensible = distances.iter().enumerate().all(|(i, &distance)| {
        if i / domains == i % domains {
            distance == LOCAL
        } else {
            distance > LOCAL
        }
    });
    sensible.then(|| Slit {
        domains,
        distances: distances.iter().copied().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_domains() {
        let slit = parse(&[2, 0, 0, 0, 0, 0, 0, 0, 10, 21, 22, 10]).unwrap();
        assert_eq!(slit.distance(0, 1), Some(21));
        assert_eq!(slit.distance(1, 0), Some(22));
        assert_eq!(slit.distance(1, 2), None);
        assert_eq!(slit.distance(u32::MAX, 0), None);
    }

    #[test]
    fn nonsense_is_no_table() {
        assert_eq!(parse(&[2, 0, 0, 0, 0, 0, 0, 0, 10, 21, 22]), None);
        assert_eq!(parse(&[2, 0, 0, 0, 0, 0, 0, 0, 10, 9, 22, 10]), None);
        assert_eq!(parse(&[1, 0, 0, 0, 0, 0, 0, 0, 20]), None);
        assert_eq!(parse(&[255; 8]), None);
        assert_eq!(parse(&[]), None);
    }
}
