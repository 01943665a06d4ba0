//! TRUSTED: the machine's ports and device frames that a domain without hardware of its own was given
//! (XEN_DOMCTL_ioport_permission, XEN_DOMCTL_iomem_permission).

use alloc::vec::Vec;
use core::ops::Range;

use hypercall_abi::errno::Errno;

/// Ranges that one domain can have, of each kind: as many as a device has resources, many times over.
const MOST: usize = 1024;

/// A set of numbers, as disjoint ranges in ascending order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Whether all of `range` is in the set.
    #[must_use]
    pub fn contains(&self, range: &Range<u64>) -> bool {
        self.0
            .iter()
            .any(|has| has.start <= range.start && range.end <= has.end)
    }

    /// Adds `range`.
    ///
    /// # Errors
    /// `ENOMEM` if the set would be too scattered.
    pub fn insert(&mut self, range: Range<u64>) -> Result<(), Errno> {
        let mut all = range;
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for has in &self.0 {
            if has.end < all.start || all.end < has.start {
                rest.push(has.clone());
            } else {
                all = all.start.min(has.start)..all.end.max(has.end);
            }
        }
        rest.push(all);
        self.replace(rest)
    }

    /// Takes `range` out.
    ///
    /// # Errors
    /// `ENOMEM` if the set would be too scattered.
    pub fn remove(&mut self, range: &Range<u64>) -> Result<(), Errno> {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for has in &self.0 {
            let below = has.start..has.end.min(range.start);
            let above = has.start.max(range.end)..has.end;
            rest.extend([below, above].into_iter().filter(|part| !part.is_empty()));
        }
        self.replace(rest)
    }

    fn replace(&mut self, mut ranges: Vec<Range<u64>>) -> Result<(), Errno> {
        if ranges.len() > MOST {
            return Err(Errno::ENOMEM);
        }
        ranges.sort_by_key(|range| range.start);
        self.0 = ranges;
        Ok(())
    }
}

/// What a domain was given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IoRights {
    /// I/O ports.
    pub ports: Ranges,
    /// Frames that are not RAM.
    pub frames: Ranges,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_split() {
        let mut set = Ranges::default();
        set.insert(10..20).unwrap();
        set.insert(30..40).unwrap();
        assert!(!set.contains(&(15..35)));
        set.insert(20..30).unwrap();
        assert!(set.contains(&(10..40)));
        set.remove(&(12..14)).unwrap();
        assert_eq!(set, Ranges(alloc::vec![10..12, 14..40]));
        set.remove(&(0..11)).unwrap();
        set.remove(&(39..100)).unwrap();
        assert_eq!(set, Ranges(alloc::vec![11..12, 14..39]));
        set.remove(&(0..u64::MAX)).unwrap();
        assert!(!set.contains(&(11..12)));
    }

    #[test]
    fn a_set_cannot_grow_for_ever() {
        let mut set = Ranges::default();
        for i in 0..MOST as u64 {
            set.insert(i * 2..i * 2 + 1).unwrap();
        }
        assert_eq!(set.insert(9000..9001), Err(Errno::ENOMEM));
        assert!(set.contains(&(2046..2047)) && !set.contains(&(9000..9001)));
    }
}
