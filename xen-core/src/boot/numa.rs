//! Nodes of the machine, from what ACPI says about proximity.
//!
//! As on Xen, nodes are numbered in the order in which the table names their proximity domains, and a table that leaves
//! usable memory without a node is not believed: then all is one node.

use alloc::vec::Vec;

use super::modules::PhysRange;
use crate::acpi::slit::{LOCAL, Slit};
use crate::acpi::srat::Srat;

/// Distance of one node from another where no table tells.
const REMOTE: u32 = 20;
/// More nodes than any machine has.
const MAX_NODES: usize = 64;

/// The nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Numa {
    /// Memory by node, first to last address.
    spans: Vec<PhysRange>,
    /// Local APIC id and node.
    cpus: Vec<(u32, u32)>,
    /// Distances, row by row.
    distances: Vec<u32>,
}

impl Numa {
    /// The nodes of a machine with this usable memory.
    #[must_use]
    pub fn new(srat: &Srat, slit: Option<&Slit>, ram: impl Iterator<Item = PhysRange>) -> Self {
        let mut domains: Vec<u32> = Vec::new();
        let named = srat.cpus.iter().map(|&(_, domain)| domain);
        for domain in named.chain(srat.memory.iter().map(|&(_, domain)| domain)) {
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        let covered = |range: &PhysRange| {
            let mut left = range.len();
            for (memory, _) in &srat.memory {
                let (start, end) = (memory.start.max(range.start), memory.end.min(range.end));
                left = left.saturating_sub(end.saturating_sub(start));
            }
            left == 0
        };
        if domains.len() < 2 || domains.len() > MAX_NODES || !{ ram }.all(|range| covered(&range)) {
            return Self::default();
        }
        let node_of = |domain: u32| domains.iter().position(|&known| known == domain);
        let spans = domains.iter().map(|&domain| {
            let own = srat.memory.iter().filter(|(_, of)| *of == domain);
            let empty = PhysRange::new(0, 0);
            own.map(|(range, _)| *range)
                .reduce(|a, b| PhysRange::new(a.start.min(b.start), a.end.max(b.end)))
                .unwrap_or(empty)
        });
        let cpus = srat.cpus.iter().filter_map(|&(apic_id, domain)| {
            Some((apic_id, u32::try_from(node_of(domain)?).ok()?))
        });
        let pairs = domains
            .iter()
            .flat_map(|&from| domains.iter().map(move |&to| (from, to)));
        let distances = pairs.map(|(from, to)| {
            let told = slit.and_then(|slit| slit.distance(from, to)).map(u32::from);
            told.unwrap_or(if from == to { LOCAL.into() } else { REMOTE })
        });
        Self {
            spans: spans.collect(),
            cpus: cpus.collect(),
            distances: distances.collect(),
        }
    }

    /// How many nodes there are: at least one.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        u32::try_from(self.spans.len()).unwrap_or(1).max(1)
    }

    /// The node of the processor with this local APIC id.
    #[must_use]
    pub fn node_of(&self, apic_id: u32) -> u32 {
        let known = self.cpus.iter().find(|&&(id, _)| id == apic_id);
        known.map_or(0, |&(_, node)| node)
    }

    /// Where the memory of a node lies; `None` if all memory is one node.
    #[must_use]
    pub fn span(&self, node: u32) -> Option<PhysRange> {
        self.spans.get(node as usize).copied()
    }

    /// Distance from one node to another.
    #[must_use]
    pub fn distance(&self, from: u32, to: u32) -> u32 {
        let place = (from as usize) * self.spans.len() + to as usize;
        let known = self.distances.get(place).copied();
        known.unwrap_or(if from == to { LOCAL.into() } else { REMOTE })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn srat() -> Srat {
        let mut srat = Srat::default();
        srat.cpus.push((0, 7));
        srat.cpus.push((1, 3));
        srat.memory.push((PhysRange::new(0, 640 << 10), 7));
        srat.memory.push((PhysRange::new(MIB, 512 * MIB), 7));
        srat.memory.push((PhysRange::new(512 * MIB, 1024 * MIB), 3));
        srat
    }

    fn ram() -> std::vec::IntoIter<PhysRange> {
        std::vec![
            PhysRange::new(0, 600 << 10),
            PhysRange::new(MIB, 1000 * MIB),
        ]
        .into_iter()
    }

    #[test]
    fn nodes_are_numbered_as_the_table_names_them() {
        let numa = Numa::new(&srat(), None, ram());
        assert_eq!(numa.nodes(), 2);
        assert_eq!(
            (numa.node_of(0), numa.node_of(1), numa.node_of(9)),
            (0, 1, 0)
        );
        assert_eq!(numa.span(0), Some(PhysRange::new(0, 512 * MIB)));
        assert_eq!(numa.distance(0, 0), 10);
        assert_eq!(numa.distance(1, 0), 20);
        assert_eq!(numa.span(2), None);
    }

    #[test]
    fn memory_without_a_node_makes_all_one() {
        let mut srat = srat();
        srat.memory.pop();
        let numa = Numa::new(&srat, None, ram());
        assert_eq!(numa, Numa::default());
        assert_eq!((numa.nodes(), numa.node_of(1)), (1, 0));
        assert_eq!((numa.distance(0, 0), numa.span(0)), (10, None));
    }

    #[test]
    fn the_table_of_distances_goes_by_proximity_domain() {
        let mut body = std::vec![8u8, 0, 0, 0, 0, 0, 0, 0];
        for from in 0..8u8 {
            body.extend((0..8u8).map(|to| if from == to { 10 } else { 20 + from }));
        }
        let slit = crate::acpi::slit::parse(&body).unwrap();
        let numa = Numa::new(&srat(), Some(&slit), ram());
        assert_eq!(numa.distance(0, 1), 27);
        assert_eq!(numa.distance(1, 0), 23);
    }
}
