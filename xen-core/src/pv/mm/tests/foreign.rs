//! Two domains, one of which handles the other's pages: what each errno and count is, and that nothing is lost whatever
//! order things come in.

use std::vec;
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::grant_table::{GntStatus, GntmapFlags, GnttabMapGrantRef, GnttabUnmapGrantRef};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::MemoryReservation;
use hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd as C};
use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::super::{drain, drop_roots, pin_table, relinquish_memory};
use super::{FREE, Hv, SELF, TABLE, err, leaf};
use crate::guest::GuestAccess;
use crate::machine::Frames;
use crate::mm::PageType;
use crate::num::{Mfn, Pfn};
use crate::outcome::{Budget, Stop};
use crate::pv::mm::entry::{RW, USER};
use crate::sim::{PvGuest, audit, cases, on_cpu, world};

#[test]
fn permission_is_asked_for_each_request() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let other = PvGuest::unprivileged(&hv, 2, 64);
    let at = guest.pte_addr(Pfn(30));
    // Nothing is asked for, so nothing is forbidden.
    assert_eq!(guest.updates_on(&hv, 2, &[]), (0, 0));
    for owner in [2, u32::from(DomId::XEN.0), SELF | 3 << 16] {
        assert_eq!(
            guest.updates_on(&hv, owner, &[(at, 0), (at, 0)]),
            (err(Errno::EPERM), 0)
        );
    }
    // A command that does not exist is not worth the question.
    assert_eq!(
        guest.updates_on(&hv, 2, &[(at | 4, 0)]),
        (err(Errno::ENOSYS), 0)
    );
    // Device memory needs rights on the frame only.
    let io = DomId::IO.0.into();
    assert_eq!(guest.updates_on(&hv, io, &[(at, 0)]), (0, 1));
    for (cmd, owner) in [
        (C::CLEAR_PAGE, 2),
        (C::CLEAR_PAGE, io),
        (C::PIN_L1_TABLE, u32::from(DomId::XEN.0)),
        (C::TLB_FLUSH_ALL, 2),
    ] {
        let mfn = other.mfn(Pfn(FREE)).0;
        assert_eq!(guest.ext_on(&hv, owner, cmd, mfn, 0), err(Errno::EPERM));
    }
    let args = [guest.va(Pfn(30)), 0, 0, io.into(), 0, 0];
    assert_eq!(
        guest.hypercall(&hv, HypercallNr::UPDATE_VA_MAPPING_OTHERDOMAIN, args),
        err(Errno::EPERM)
    );
    audit(&hv, &[&guest, &other]);
}

#[test]
fn the_count_is_told_when_the_pages_owner_does_not_exist() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let at = dom0.pte_addr(Pfn(30));
    assert_eq!(dom0.updates_on(&hv, 77, &[(at, 0)]), (err(Errno::ESRCH), 0));
    assert_eq!(
        dom0.updates_on(&hv, SELF | 78 << 16, &[(at, 0)]),
        (err(Errno::ESRCH), 0xdead)
    );
    // Sixteen bits name a domain, whatever the register holds.
    let domu = PvGuest::unprivileged(&hv, 1, 64);
    let mfn = domu.mfn(Pfn(FREE)).0;
    assert_eq!(dom0.ext_on(&hv, 1 | 5 << 16, C::CLEAR_PAGE, mfn, 0), 0);
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn nothing_becomes_a_table_behind_destruction() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    let held = hv.mem.get_page(domu.mfn(Pfn(FREE)), DomId(1)).unwrap();
    assert_eq!(domu.remap(&hv, Pfn(FREE), false, true), 0);
    destroy(&hv, &mut domu);
    for cmd in [C::PIN_L1_TABLE, C::PIN_L4_TABLE] {
        assert_eq!(
            dom0.ext_on(&hv, 1, cmd, held.mfn().0, 0),
            err(Errno::EINVAL)
        );
    }
    assert_eq!(
        dom0.ext_on(&hv, 1, C::UNPIN_TABLE, held.mfn().0, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(domu.domain.pages.total_pages(), 1);
    drop(held);
    assert_eq!(domu.domain.pages.total_pages(), 0);
    audit(&hv, &[&dom0, &domu]);
}

/// What destruction does with everything that a guest holds.
fn destroy(hv: &Hv, guest: &mut PvGuest) {
    while let Err(stop) = hv.release_grants(&guest.domain) {
        assert_eq!(stop, Stop::Preempted);
    }
    while let Err(stop) = hv.destroy_events(&guest.domain) {
        assert_eq!(stop, Stop::Preempted);
    }
    drop_roots(hv, &mut guest.ctx);
    while let Err(stop) = relinquish_memory(hv, &guest.domain, &mut Budget::new(50)) {
        assert_eq!(stop, Stop::Preempted);
    }
}

/// Pages of the second domain, and windows of the first, that the sequences play with.
const PAGES: u64 = 6;
/// The first of the windows.
const WINDOWS: u64 = 20;
const HOST: u32 = GntmapFlags::HOST_MAP.bits();
const DEVICE: u32 = GntmapFlags::DEVICE_MAP.bits();

#[derive(Clone, Debug)]
enum Step {
    /// A window of dom0 onto a page, by either name.
    Map {
        window: u64,
        page: u64,
        writable: bool,
        own: bool,
    },
    Unmap {
        window: u64,
    },
    /// A word of a page of the other's, through the window.
    Store {
        window: u64,
        index: u64,
        target: u64,
    },
    /// An entry of the other's tables.
    Foreign {
        page: u64,
        target: u64,
        own_page: bool,
    },
    Pin {
        page: u64,
        level: u32,
        budget: Option<u32>,
    },
    Unpin {
        page: u64,
    },
    Clear {
        page: u64,
    },
    Grant {
        reference: u64,
        page: u64,
        readonly: bool,
    },
    MapGrant {
        window: u64,
        reference: u64,
        flags: u32,
        by_entry: bool,
    },
    UnmapGrant {
        handle: u32,
        window: u64,
        device: bool,
        by_entry: bool,
    },
    /// The guest gives a page up.
    Decrease {
        page: u64,
    },
    Destroy,
}

fn step() -> impl Strategy<Value = Step> {
    let (page, window, reference) = (0..PAGES, 0..PAGES, 0..4u64);
    let kinds = prop_oneof![
        Just(HOST),
        Just(DEVICE),
        Just(HOST | DEVICE),
        Just(HOST | GntmapFlags::READONLY.bits()),
        Just(DEVICE | GntmapFlags::READONLY.bits()),
    ];
    prop_oneof![
        6 => (window.clone(), page.clone(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(window, page, writable, own)| Step::Map { window, page, writable, own }),
        4 => window.clone().prop_map(|window| Step::Unmap { window }),
        3 => (window.clone(), 0..4u64, page.clone())
            .prop_map(|(window, index, target)| Step::Store { window, index, target }),
        3 => (page.clone(), page.clone(), any::<bool>())
            .prop_map(|(page, target, own_page)| Step::Foreign { page, target, own_page }),
        5 => (page.clone(), 1..5u32, prop::option::of(0..600u32))
            .prop_map(|(page, level, budget)| Step::Pin { page, level, budget }),
        3 => page.clone().prop_map(|page| Step::Unpin { page }),
        2 => page.clone().prop_map(|page| Step::Clear { page }),
        4 => (reference.clone(), page.clone(), any::<bool>())
            .prop_map(|(reference, page, readonly)| Step::Grant { reference, page, readonly }),
        5 => (window.clone(), reference, kinds, any::<bool>())
            .prop_map(|(window, reference, flags, by_entry)| Step::MapGrant { window, reference, flags, by_entry }),
        5 => (0..6u32, window, any::<bool>(), any::<bool>())
            .prop_map(|(handle, window, device, by_entry)| Step::UnmapGrant { handle, window, device, by_entry }),
        1 => page.prop_map(|page| Step::Decrease { page }),
        1 => Just(Step::Destroy),
    ]
}

struct Pair {
    hv: Hv,
    dom0: PvGuest,
    domu: PvGuest,
    dead: bool,
}

impl Pair {
    fn page(&self, page: u64) -> Mfn {
        self.domu.mfn(Pfn(FREE + page))
    }

    fn element<T>(&mut self, nr: HypercallNr, cmd: u64, arg: &mut T) -> i64
    where
        T: FromBytes + IntoBytes + Immutable,
    {
        let at = self.dom0.put(&self.hv, Pfn(0), arg);
        let result = self.dom0.hypercall(&self.hv, nr, [cmd, at, 1, 0, 0, 0]);
        on_cpu(self.dom0.cpu, || {
            self.hv.machine.read_bytes(at, arg.as_mut_bytes())
        })
        .unwrap();
        result
    }

    fn unmap_grant(&mut self, handle: u32, host_addr: u64, dev_bus_addr: u64) -> GntStatus {
        let mut op = GnttabUnmapGrantRef {
            host_addr,
            dev_bus_addr,
            handle,
            status: GntStatus(77),
            _pad: [0; 2],
        };
        assert_eq!(self.element(HypercallNr::GRANT_TABLE_OP, 1, &mut op), 0);
        op.status
    }

    fn take(&mut self, step: &Step) {
        let id = u32::from(self.domu.domain.id.0);
        match *step {
            Step::Map {
                window,
                page,
                writable,
                own,
            } => {
                let at = self.dom0.pte_addr(Pfn(WINDOWS + window));
                let value = leaf(self.page(page), if writable { RW } else { 0 });
                let owner = if own { SELF } else { id };
                let (result, done) = self.dom0.updates_on(&self.hv, owner, &[(at, value)]);
                assert_eq!(done, u32::from(result == 0));
            }
            Step::Unmap { window } => {
                let args = [self.dom0.va(Pfn(WINDOWS + window)), 0, 2, 0, 0, 0];
                let nr = HypercallNr::UPDATE_VA_MAPPING;
                assert_eq!(self.dom0.hypercall(&self.hv, nr, args), 0);
            }
            Step::Store {
                window,
                index,
                target,
            } => {
                let value = self.page(target).addr() | TABLE;
                let at = self.dom0.va(Pfn(WINDOWS + window)) + index * 8;
                self.dom0.run_on(&self.hv, self.dom0.cpu);
                let _ = self.dom0.store(&self.hv, at, &value.to_le_bytes());
            }
            Step::Foreign {
                page,
                target,
                own_page,
            } => {
                let at = self.page(page).addr() + 16;
                let (mfn, owner) = if own_page {
                    (self.dom0.mfn(Pfn(FREE)), SELF)
                } else {
                    (self.page(target), id)
                };
                let request = [(at, leaf(mfn, RW | USER))];
                self.dom0
                    .updates_on(&self.hv, owner | (id + 1) << 16, &request);
            }
            Step::Pin {
                page,
                level,
                budget,
            } => {
                let (domain, mfn) = (&self.domu.domain, self.page(page));
                match budget {
                    // Left half way, for others to trip over.
                    Some(budget) => {
                        let kind = PageType::table(level);
                        let _ = pin_table(&self.hv, domain, mfn, kind, &mut Budget::new(budget));
                    }
                    None => {
                        self.dom0.ext_on(&self.hv, id, C(level - 1), mfn.0, 0);
                    }
                }
            }
            Step::Unpin { page } => {
                self.dom0
                    .ext_on(&self.hv, id, C::UNPIN_TABLE, self.page(page).0, 0);
            }
            Step::Clear { page } => {
                self.dom0
                    .ext_on(&self.hv, id, C::CLEAR_PAGE, self.page(page).0, 0);
            }
            Step::Grant {
                reference,
                page,
                readonly,
            } => {
                if let Some(&table) = self.domu.domain.grants.frames().first() {
                    let flags = if readonly { 1 | 4 } else { 1 };
                    let word = self.page(page).0 << 32 | flags;
                    self.hv.machine.words(table)[8 + reference as usize]
                        .store(word, core::sync::atomic::Ordering::SeqCst);
                }
            }
            Step::MapGrant {
                window,
                reference,
                flags,
                by_entry,
            } => {
                let mut op = GnttabMapGrantRef::new_zeroed();
                op.dom = self.domu.domain.id;
                op.r#ref = 8 + reference as u32;
                (op.host_addr, op.flags) = self.place(window, by_entry);
                op.flags |= flags;
                assert_eq!(self.element(HypercallNr::GRANT_TABLE_OP, 0, &mut op), 0);
            }
            Step::UnmapGrant {
                handle,
                window,
                device,
                by_entry,
            } => {
                let (host_addr, _) = self.place(window, by_entry);
                if device {
                    for page in 0..PAGES {
                        let bus = self.page(page).addr();
                        if self.unmap_grant(handle, 0, bus) == GntStatus::OKAY {
                            break;
                        }
                    }
                } else {
                    self.unmap_grant(handle, host_addr, 0);
                }
            }
            Step::Decrease { page } => {
                let list = self.dom0.put(&self.hv, Pfn(1), &self.page(page).0);
                let mut arg = MemoryReservation::new_zeroed();
                arg.extent_start = GuestHandle::from_addr(list);
                arg.nr_extents = 1;
                arg.domid = self.domu.domain.id;
                self.element(HypercallNr::MEMORY_OP, 1, &mut arg);
            }
            Step::Destroy => {
                if !self.dead {
                    destroy(&self.hv, &mut self.domu);
                    self.dead = true;
                }
            }
        }
    }

    fn place(&self, window: u64, by_entry: bool) -> (u64, u32) {
        let pfn = Pfn(WINDOWS + window);
        if by_entry {
            (self.dom0.pte_addr(pfn), GntmapFlags::CONTAINS_PTE.bits())
        } else {
            (self.dom0.va(pfn), 0)
        }
    }

    fn audit(&self) {
        audit(&self.hv, &[&self.dom0, &self.domu]);
    }

    /// dom0 ends too: everything that it kept comes back.
    fn end(mut self, free: u64) {
        let pages = self.domu.domain.pages.clone();
        if !self.dead {
            destroy(&self.hv, &mut self.domu);
        }
        destroy(&self.hv, &mut self.dom0);
        while drain(&self.hv, &pages, &mut Budget::unlimited()).is_err() {}
        for guest in [&self.dom0, &self.domu] {
            self.hv.mem.free_shared(guest.domain.shared_info);
            assert_eq!(
                guest.domain.pages.list(&self.hv.mem),
                Vec::<Mfn>::new(),
                "pages of {:?}",
                guest.domain.id
            );
            assert!(self.hv.mem.close_account(guest.domain.id));
        }
        assert_eq!(self.hv.mem.free_pages(), free);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(96), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_order_of_things_between_two_domains_loses_a_page(
        steps in prop::collection::vec(step(), 1..50)
    ) {
        let hv = world();
        let free = hv.mem.free_pages();
        let dom0 = PvGuest::dom0(&hv, 64);
        let mut domu = PvGuest::unprivileged(&hv, 1, 64);
        // The pages that are played with have no mapping of the guest's own in the way.
        for page in 0..PAGES {
            let args = [domu.va(Pfn(FREE + page)), 0, 0, 0, 0, 0];
            let nr = HypercallNr::UPDATE_VA_MAPPING;
            assert_eq!(domu.hypercall(&hv, nr, args), 0);
        }
        let mut pair = Pair { hv, dom0, domu, dead: false };
        for step in &steps {
            pair.take(step);
            pair.audit();
        }
        pair.end(free);
    }
}
