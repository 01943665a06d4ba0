//! Mapping and unmapping against a naive model: a list of mappings.

extern crate std;

use std::vec::Vec;

use hypercall_abi::grant_table::{GntStatus, GrantFlags, GrantType};
use hypercall_abi::xen::DomId;
use proptest::prelude::*;

use super::{DEVICE, HOST, PTE, Pair, READONLY};
use crate::num::{Mfn, Pfn};

const REFERENCES: u32 = 4;
const SLOTS: u64 = 6;
const FIRST_SLOT: u64 = 20;

#[derive(Clone, Copy, Debug)]
enum Target {
    Own(u64),
    Table,
    Foreign,
}

#[derive(Clone, Debug)]
enum Step {
    Grant {
        reference: u32,
        kind: u16,
        readonly: bool,
        grantee: u16,
        target: Target,
    },
    Map {
        reference: u32,
        flags: u32,
        slot: u64,
    },
    Unmap {
        which: usize,
        host: bool,
        device: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let target = prop_oneof![
        5 => (0..4u64).prop_map(|i| Target::Own(2 + i)),
        1 => Just(Target::Table),
        1 => Just(Target::Foreign),
    ];
    let kind = prop_oneof![6 => Just(1u16), 1 => 0..4u16];
    let grantee = prop_oneof![6 => Just(0u16), 1 => 1..8u16];
    prop_oneof![
        2 => (0..REFERENCES, kind, any::<bool>(), grantee, target).prop_map(
            |(reference, kind, readonly, grantee, target)| Step::Grant { reference, kind, readonly, grantee, target }
        ),
        4 => (0..REFERENCES, 1..4u32, any::<bool>(), any::<bool>(), 0..SLOTS).prop_map(
            |(reference, places, readonly, pte, slot)| {
                let flags = places | if readonly { READONLY } else { 0 } | if pte { PTE } else { 0 };
                Step::Map { reference, flags, slot }
            }
        ),
        3 => (any::<usize>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, host, device)| Step::Unmap { which, host, device }),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u16,
    readonly: bool,
    grantee: u16,
    target: Target,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    reference: u32,
    handle: u32,
    host: Option<u64>,
    device: bool,
    write: bool,
    frame: Mfn,
}

struct Model {
    entries: [Entry; REFERENCES as usize],
    mappings: Vec<Mapping>,
}

impl Model {
    fn users(&self, reference: u32) -> impl Iterator<Item = &Mapping> {
        self.mappings
            .iter()
            .filter(move |mapping| mapping.reference == reference)
    }

    fn marks(&self, reference: u32) -> (bool, bool) {
        (
            self.users(reference).count() != 0,
            self.users(reference).any(|mapping| mapping.write),
        )
    }

    fn expected(&self, reference: u32, write: bool) -> GntStatus {
        let entry = self.entries[reference as usize];
        let (reading, writing) = self.marks(reference);
        let asks_entry = !reading || (write && !writing);
        if asks_entry && (entry.kind != 1 || entry.grantee != 0 || (write && entry.readonly)) {
            return GntStatus::GENERAL_ERROR;
        }
        match entry.target {
            Target::Own(_) => GntStatus::OKAY,
            Target::Table if write => GntStatus::GENERAL_ERROR,
            Target::Table => GntStatus::OKAY,
            Target::Foreign => GntStatus::BAD_PAGE,
        }
    }
}

impl Pair {
    fn frame(&self, target: Target) -> Mfn {
        match target {
            Target::Own(pfn) => self.front.mfn(Pfn(pfn)),
            Target::Table => self.front.mfn(self.front.l1[0]),
            Target::Foreign => self.back.mfn(Pfn(7)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::sim::cases(120), ..ProptestConfig::default() })]

    #[test]
    fn every_step_answers_and_marks_as_the_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new();
        let nothing = Entry { kind: 0, readonly: false, grantee: 0, target: Target::Own(2) };
        let mut model = Model { entries: [nothing; REFERENCES as usize], mappings: Vec::new() };
        for step in steps {
            match step {
                Step::Grant { reference, kind, readonly, grantee, target } => {
                    // A frontend that changes an entry in use is a test of its own.
                    if model.users(reference).next().is_some() {
                        continue;
                    }
                    let flag = if readonly { GrantFlags::READONLY.bits() } else { 0 };
                    let kind = GrantType(kind).0;
                    pair.grant_raw(reference, kind | flag, DomId(grantee), pair.frame(target));
                    model.entries[reference as usize] = Entry { kind, readonly, grantee, target };
                }
                Step::Map { reference, flags, slot } => {
                    let host = flags & HOST != 0;
                    if host && model.mappings.iter().any(|mapping| mapping.host.is_some_and(|at| at >> 56 == slot)) {
                        continue;
                    }
                    let pfn = Pfn(FIRST_SLOT + slot);
                    let at = if flags & PTE != 0 { pair.back.pte_addr(pfn) } else { pair.back.va(pfn) };
                    let write = flags & READONLY == 0;
                    let op = pair.map(at, flags, reference);
                    prop_assert_eq!(op.status, model.expected(reference, write));
                    if op.status == GntStatus::OKAY {
                        let frame = pair.frame(model.entries[reference as usize].target);
                        prop_assert_eq!(op.dev_bus_addr, frame.addr());
                        // The slot is kept in the top byte, which canonical addresses have as a copy of bit 47.
                        let place = host.then_some((at << 8 >> 8) | slot << 56);
                        let device = flags & DEVICE != 0;
                        model.mappings.push(Mapping { reference, handle: op.handle, host: place, device, write, frame });
                    }
                }
                Step::Unmap { which, host, device } => {
                    if model.mappings.is_empty() {
                        continue;
                    }
                    let index = which % model.mappings.len();
                    let mapping = model.mappings[index];
                    let at = mapping.host.map_or(0, |place| {
                        let low = place << 8 >> 8;
                        if low >> 47 != 0 { low | 0xff << 56 } else { low }
                    });
                    let addr = if host { at } else { 0 };
                    let bus = if device { mapping.frame.addr() } else { 0 };
                    prop_assert_eq!(pair.unmap(mapping.handle, addr, bus), GntStatus::OKAY);
                    let left = &mut model.mappings[index];
                    left.host = left.host.filter(|_| !host);
                    left.device &= !device;
                    if left.host.is_none() && !left.device {
                        model.mappings.remove(index);
                        prop_assert_eq!(pair.unmap(mapping.handle, 0, 0), GntStatus::BAD_HANDLE);
                    }
                }
            }
            for reference in 0..REFERENCES {
                prop_assert_eq!(pair.marks(reference), model.marks(reference));
            }
        }
        let devices: Vec<_> = model
            .mappings
            .iter()
            .filter(|mapping| mapping.device)
            .map(|mapping| (mapping.frame, mapping.write))
            .collect();
        pair.audit(&devices);
    }

    #[test]
    fn entries_that_change_while_in_use_do_not_upset_the_books(
        steps in proptest::collection::vec((any::<u64>(), 0..REFERENCES, step()), 1..60),
    ) {
        let mut pair = Pair::new();
        let mut handles: Vec<(u32, u64, u64)> = Vec::new();
        for (noise, reference, step) in steps {
            let frame = if noise & 1 == 0 { pair.front.mfn(Pfn(2 + noise % 5)) } else { Mfn(noise >> 40) };
            match step {
                Step::Grant { kind, grantee, .. } => {
                    pair.grant_raw(reference, kind | (noise >> 3) as u16 & 0x1c, DomId(grantee), frame);
                }
                Step::Map { reference, flags, slot } => {
                    let pfn = Pfn(FIRST_SLOT + slot);
                    let at = if flags & PTE != 0 { pair.back.pte_addr(pfn) } else { pair.back.va(pfn) };
                    let op = pair.map(at, flags, reference);
                    if op.status == GntStatus::OKAY {
                        handles.push((op.handle, at, op.dev_bus_addr));
                    }
                }
                Step::Unmap { which, host, device } => {
                    if !handles.is_empty() {
                        let (handle, at, bus) = handles[which % handles.len()];
                        pair.unmap(handle, if host { at } else { 0 }, if device { bus } else { 0 });
                    }
                }
            }
        }
        pair.hv.release_grants(&pair.back.domain).expect("end");
        pair.audit(&[]);
        prop_assert_eq!(pair.back.domain.grants.mappings(), 0);
    }
}
