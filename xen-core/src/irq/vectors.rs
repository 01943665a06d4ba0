//! Which vector of which processor stands for which interrupt.
//!
//! Every processor has its own interrupt descriptor numbers (SDM volume 3, 11.8): the same vector can mean one source
//! here and another there, so that a machine has processors times 174 places for interrupts.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::{FIRST_DEVICE_VECTOR, LAST_DEVICE_VECTOR, NEVER_GIVEN_OUT};
use crate::num::{CpuId, Vector};

/// Where an interrupt arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub cpu: CpuId,
    pub vector: Vector,
}

/// The vectors of one processor.
#[derive(Debug)]
struct Table {
    irqs: Box<[Option<u32>; 256]>,
    /// Where the search for a free one begins. It wanders, so that a vector rests after it was given back and what
    /// was under way with it does not look like somebody else's.
    next: u8,
}

/// The vectors of all processors.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    tables: BTreeMap<CpuId, Table>,
}

impl Vectors {
    /// The interrupt that arrives as `vector` on `cpu`.
    pub(super) fn irq_at(&self, cpu: CpuId, vector: Vector) -> Option<u32> {
        self.tables.get(&cpu)?.irqs[usize::from(vector.0)]
    }

    fn table(&mut self, cpu: CpuId) -> &mut Table {
        self.tables.entry(cpu).or_insert_with(|| Table {
            irqs: Box::new([None; 256]),
            next: FIRST_DEVICE_VECTOR.0,
        })
    }

    /// Gives `irq` a free vector of `cpu`.
    pub(super) fn claim(&mut self, cpu: CpuId, irq: u32) -> Option<Place> {
        let table = self.table(cpu);
        let vector = (table.next..=LAST_DEVICE_VECTOR.0)
            .chain(FIRST_DEVICE_VECTOR.0..table.next)
            .find(|&vector| {
                !NEVER_GIVEN_OUT.contains(&vector) && table.irqs[usize::from(vector)].is_none()
            })?;
        table.irqs[usize::from(vector)] = Some(irq);
        table.next = if vector < LAST_DEVICE_VECTOR.0 {
            vector + 1
        } else {
            FIRST_DEVICE_VECTOR.0
        };
        Some(Place {
            cpu,
            vector: Vector(vector),
        })
    }

    /// Gives `irq` a vector of `cpu`, the same as on another processor if that is free.
    pub(super) fn claim_like(&mut self, cpu: CpuId, irq: u32, vector: Vector) -> Option<Place> {
        let entry = &mut self.table(cpu).irqs[usize::from(vector.0)];
        if entry.is_some() {
            return self.claim(cpu, irq);
        }
        *entry = Some(irq);
        Some(Place { cpu, vector })
    }

    /// Gives a place back.
    pub(super) fn release(&mut self, place: Place) {
        if let Some(table) = self.tables.get_mut(&place.cpu) {
            table.irqs[usize::from(place.vector.0)] = None;
        }
    }

    /// Vectors of `cpu` that are given out.
    #[cfg(test)]
    pub(super) fn used_on(&self, cpu: CpuId) -> usize {
        let table = self.tables.get(&cpu);
        table.map_or(0, |table| table.irqs.iter().flatten().count())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::super::DEVICE_VECTORS;
    use super::*;

    #[test]
    fn each_processor_has_all_device_vectors_once() {
        let mut vectors = Vectors::default();
        for cpu in [CpuId(0), CpuId(3)] {
            let places: Vec<_> = (0..1000).map_while(|irq| vectors.claim(cpu, irq)).collect();
            let distinct: BTreeSet<_> = places.iter().map(|place| place.vector).collect();
            assert_eq!(places.len() as u32, DEVICE_VECTORS);
            assert_eq!(distinct.len() as u32, DEVICE_VECTORS);
            assert!(
                distinct
                    .iter()
                    .all(|v| (FIRST_DEVICE_VECTOR..=LAST_DEVICE_VECTOR).contains(v)
                        && !NEVER_GIVEN_OUT.contains(&v.0))
            );
        }
        assert_eq!(vectors.irq_at(CpuId(3), FIRST_DEVICE_VECTOR), Some(0));
        assert_eq!(vectors.irq_at(CpuId(1), FIRST_DEVICE_VECTOR), None);
    }

    #[test]
    fn a_vector_rests_before_it_is_given_out_again() {
        let mut vectors = Vectors::default();
        let first = vectors.claim(CpuId(0), 1).unwrap();
        vectors.release(first);
        let second = vectors.claim(CpuId(0), 2).unwrap();
        assert_ne!(first, second);
        assert_eq!(vectors.irq_at(CpuId(0), first.vector), None);
        for irq in 0..DEVICE_VECTORS - 1 {
            assert!(vectors.claim(CpuId(0), irq).is_some());
        }
        assert_eq!(vectors.claim(CpuId(0), 9), None);
        vectors.release(second);
        assert_eq!(vectors.claim(CpuId(0), 9), Some(second));
    }
}
