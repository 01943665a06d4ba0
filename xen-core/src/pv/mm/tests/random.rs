//! Sequences of hostile operations: after every step the recount agrees, no table is writable, and refused operations
//! changed nothing.

use std::vec::Vec;

use hypercall_abi::xen::{HypercallNr, MmuextCmd};
use proptest::prelude::*;

use super::super::entry::{PAT, PRESENT, RW, USER};
use super::super::{drain, pin_table, relinquish_memory};
use super::{FREE, SELF};
use crate::mm::PageType;
use crate::num::Pfn;
use crate::outcome::{Budget, Stop};
use crate::sim::{PvGuest, SimConfig, audit, cases, world_with};

/// Pages that the sequences play with.
const PAGES: u64 = 8;

#[derive(Clone, Debug)]
enum Step {
    /// Writes an entry into a page as plain memory; the guest may fault.
    Store {
        page: u64,
        index: u64,
        target: u64,
        flags: u64,
    },
    /// mmu_update of a word of a page.
    Update {
        page: u64,
        index: u64,
        target: u64,
        flags: u64,
    },
    /// The direct map's entry of a page.
    Remap {
        page: u64,
        target: u64,
        writable: bool,
        flush: bool,
    },
    Pin {
        page: u64,
        level: u32,
        yields: Option<u64>,
    },
    /// A promotion that is given up half way.
    HalfPin {
        page: u64,
        level: u32,
        budget: u32,
    },
    Unpin {
        page: u64,
    },
    Gdt {
        page: u64,
    },
    NewRoot {
        page: u64,
        user: bool,
    },
    Drain {
        budget: u32,
    },
}

fn flags() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => Just(PRESENT | USER),
        6 => Just(PRESENT | RW | USER),
        2 => Just(PRESENT),
        2 => Just(0),
        1 => Just(PRESENT | USER | PAT),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    let index = prop_oneof![Just(0u64), Just(1), Just(260), Just(511)];
    let yields = prop_oneof![2 => Just(None), 1 => (0..4u64).prop_map(Some)];
    prop_oneof![
        6 => (page.clone(), index.clone(), page.clone(), flags())
            .prop_map(|(page, index, target, flags)| Step::Store { page, index, target, flags }),
        6 => (page.clone(), index, page.clone(), flags())
            .prop_map(|(page, index, target, flags)| Step::Update { page, index, target, flags }),
        8 => (page.clone(), page.clone(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(page, other, same, writable, flush)| {
                Step::Remap { page, target: if same { page } else { other }, writable: writable && same, flush }
            }
        ),
        6 => (page.clone(), 1..5u32, yields).prop_map(|(page, level, yields)| Step::Pin { page, level, yields }),
        3 => (page.clone(), 1..5u32, 1..1200u32)
            .prop_map(|(page, level, budget)| Step::HalfPin { page, level, budget }),
        4 => page.clone().prop_map(|page| Step::Unpin { page }),
        1 => page.clone().prop_map(|page| Step::Gdt { page }),
        1 => (page, any::<bool>()).prop_map(|(page, user)| Step::NewRoot { page, user }),
        2 => (1..600u32).prop_map(|budget| Step::Drain { budget }),
    ]
}

fn pin_cmd(level: u32) -> MmuextCmd {
    MmuextCmd(MmuextCmd::PIN_L1_TABLE.0 + level - 1)
}

fn run(steps: &[Step], linear: bool) {
    let hv = world_with(SimConfig {
        frames: 160,
        reserved: 16,
        cpus: 1,
    });
    hv.mem.set_linear_tables(linear);
    let free = hv.mem.free_pages();
    let mut guest = PvGuest::unprivileged(&hv, 1, 40);
    let pfn = |page: u64| Pfn(FREE + 2 + page);
    for step in steps {
        let before = hv.mem.free_pages();
        match *step {
            Step::Store {
                page,
                index,
                target,
                flags,
            } => {
                let value = guest.mfn(pfn(target)).addr() | flags;
                // `store` asserts that a write which succeeds reaches no table.
                let _ = guest.store(&hv, guest.va(pfn(page)) + index * 8, &value.to_le_bytes());
            }
            Step::Update {
                page,
                index,
                target,
                flags,
            } => {
                let value = guest.mfn(pfn(target)).addr() | flags;
                let at = guest.mfn(pfn(page)).addr() + index * 8;
                let _ = guest.updates_on(&hv, SELF, &[(at, value)]);
            }
            Step::Remap {
                page,
                target,
                writable,
                flush,
            } => {
                let value = guest.mfn(pfn(target)).addr() | PRESENT | if writable { RW } else { 0 };
                let args = [
                    guest.va(pfn(page)),
                    value,
                    if flush { 2 } else { 0 },
                    0,
                    0,
                    0,
                ];
                let _ = guest.hypercall(&hv, HypercallNr::UPDATE_VA_MAPPING, args);
            }
            Step::Pin {
                page,
                level,
                yields,
            } => {
                hv.machine.yield_after(yields);
                let mfn = guest.mfn(pfn(page)).0;
                let _ = guest.ext(&hv, pin_cmd(level), mfn, 0);
                hv.machine.yield_after(None);
            }
            Step::HalfPin {
                page,
                level,
                budget,
            } => {
                let mfn = guest.mfn(pfn(page));
                let _ = pin_table(
                    &hv,
                    &guest.domain,
                    mfn,
                    PageType::table(level),
                    &mut Budget::new(budget),
                );
            }
            Step::Unpin { page } => {
                let mfn = guest.mfn(pfn(page)).0;
                let _ = guest.ext(&hv, MmuextCmd::UNPIN_TABLE, mfn, 0);
            }
            Step::Gdt { page } => {
                let list = guest.put(&hv, Pfn(0), &guest.mfn(pfn(page)).0);
                let _ = guest.hypercall(&hv, HypercallNr::SET_GDT, [list, 16, 0, 0, 0, 0]);
            }
            Step::NewRoot { page, user } => {
                let mfn = guest.mfn(pfn(page)).0;
                if user {
                    let _ = guest.ext(&hv, MmuextCmd::NEW_USER_BASEPTR, mfn, 0);
                }
            }
            Step::Drain { budget } => {
                let _ = drain(&hv, &guest.domain.pages, &mut Budget::new(budget));
            }
        }
        audit(&hv, &[&guest]);
        assert_eq!(hv.mem.free_pages(), before);
        for page in 0..PAGES {
            if let Ok(target) = hv.machine.probe_write(guest.cpu, guest.va(pfn(page))) {
                let word = hv.mem.type_of(target);
                assert!(
                    word.count() == 0 || word.kind() == PageType::Writable,
                    "{target:?} {word:?}"
                );
            }
        }
    }
    super::super::drop_roots(&hv, &mut guest.ctx);
    let ends: Vec<_> =
        core::iter::repeat_with(|| relinquish_memory(&hv, &guest.domain, &mut Budget::new(300)))
            .take_while(|end| *end == Err(Stop::Preempted))
            .collect();
    assert!(ends.len() < 1000);
    hv.mem.free_shared(guest.domain.shared_info);
    for frame in guest.domain.grants.frames() {
        hv.mem.free_shared(frame);
    }
    assert_eq!(hv.mem.free_pages(), free, "everything comes back");
    audit(&hv, &[&guest]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(96), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_sequences_keep_the_books_true(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps, false);
    }

    #[test]
    fn also_with_linear_tables(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps, true);
    }
}
