//! A table by domain number without a lock of its own: look-ups of different domains meet nowhere.
//!
//! Every entry has its lock, which is held for no longer than it takes to copy the value out. Entries lie in chunks that
//! come into being with the first domain of their range and stay.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hypercall_abi::xen::DomId;
use spin::Once;

use super::{Rank, RankedMutex};

/// Entries of a chunk.
const CHUNK: usize = 64;
/// Chunks that hold all numbers that a domain can have.
const CHUNKS: usize = (DomId::FIRST_RESERVED.0 as usize).div_ceil(CHUNK);

type Entry<T> = RankedMutex<Option<T>>;
/// Entries of neighbouring numbers.
type Chunk<T> = Once<Box<[Entry<T>]>>;

/// Values by domain number.
#[derive(Debug)]
pub struct ByDomain<T> {
    rank: Rank,
    chunks: Once<Box<[Chunk<T>]>>,
}

impl<T: Clone> ByDomain<T> {
    /// An empty table whose entries have locks of this rank.
    #[must_use]
    pub const fn new(rank: Rank) -> Self {
        Self {
            rank,
            chunks: Once::new(),
        }
    }

    fn entry(&self, id: DomId) -> Option<&Entry<T>> {
        let at = usize::from(id.0);
        self.chunks.get()?.get(at / CHUNK)?.get()?.get(at % CHUNK)
    }

    /// The entry, made if need be; `None` for numbers that no domain can have.
    fn make_entry(&self, id: DomId) -> Option<&Entry<T>> {
        let at = usize::from(id.0);
        let chunks = self.chunks.call_once(|| {
            let mut chunks = Vec::new();
            chunks.resize_with(CHUNKS, Once::new);
            chunks.into_boxed_slice()
        });
        let chunk = chunks.get(at / CHUNK)?.call_once(|| {
            let mut entries = Vec::new();
            entries.resize_with(CHUNK, || RankedMutex::new(self.rank, None));
            entries.into_boxed_slice()
        });
        chunk.get(at % CHUNK)
    }

    /// The value of a domain.
    #[must_use]
    pub fn get(&self, id: DomId) -> Option<T> {
        self.entry(id)?.lock().clone()
    }

    /// Enters a value; false if there is one, or for a number that no domain can have.
    #[must_use]
    pub fn insert(&self, id: DomId, value: T) -> bool {
        if id >= DomId::FIRST_RESERVED {
            return false;
        }
        let Some(entry) = self.make_entry(id) else {
            return false;
        };
        let mut entry = entry.lock();
        let free = entry.is_none();
        if free {
            *entry = Some(value);
        }
        free
    }

    /// Whether there is a value.
    #[must_use]
    pub fn contains(&self, id: DomId) -> bool {
        self.entry(id).is_some_and(|entry| entry.lock().is_some())
    }

    /// Changes an entry, or takes it away, while nobody else can find it. `Default` where nothing ever was.
    pub fn edit<R: Default>(&self, id: DomId, change: impl FnOnce(&mut Option<T>) -> R) -> R {
        self.entry(id)
            .map_or_else(R::default, |entry| change(&mut entry.lock()))
    }

    /// All values, by ascending number. What comes or goes meanwhile may be among them or not.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        let chunks = self.chunks.get().into_iter().flatten();
        chunks
            .filter_map(Once::get)
            .flat_map(|chunk| chunk.iter())
            .filter_map(|entry| entry.lock().clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_number_and_listed_in_order() {
        let table = ByDomain::new(Rank::DomainTable);
        assert_eq!(table.get(DomId(0)), None);
        assert!(table.all().is_empty());
        for id in [700, 0, 63, 64, 0x7fef] {
            assert!(table.insert(DomId(id), id));
            assert!(!table.insert(DomId(id), 1));
        }
        assert_eq!(table.all(), [0, 63, 64, 700, 0x7fef]);
        for id in [0x7ff0, 0x7ff4, 0xffff] {
            assert!(!table.insert(DomId(id), id));
            assert_eq!(table.get(DomId(id)), None);
        }
        assert_eq!(table.edit(DomId(64), Option::take), Some(64));
        assert_eq!(table.edit(DomId(64), Option::take), None);
        assert_eq!(table.edit(DomId(12_000), Option::take), None);
        table.edit(DomId(63), |value| *value = Some(62));
        assert!(table.contains(DomId(63)) && !table.contains(DomId(64)));
        assert_eq!(table.all(), [0, 62, 700, 0x7fef]);
    }
}
