//! Who owns what: frame records against the domains' lists and totals, the free lists, the machine-to-physical table.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use hypercall_abi::xen::DomId;

use crate::machine::Frames;
use crate::mm::{FrameState, Memory};
use crate::num::{Mfn, Pfn};

/// Frames that name a domain as their owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owned {
    /// The domain's own pages.
    pages: u64,
    /// The hypervisor's that it may map.
    shared: u64,
}

impl Memory {
    /// Compares owners, lists, totals, free frames and M2P entries.
    pub(super) fn audit_owners(&self, machine: &impl Frames, faults: &mut Vec<String>) {
        let mut owned: BTreeMap<DomId, Owned> = BTreeMap::new();
        let mut free = 0;
        for mfn in (0..self.frames.len()).map(Mfn) {
            let Some(info) = self.frames.get(mfn) else {
                continue;
            };
            let count = info.count();
            match (count.state(), info.owner()) {
                (FrameState::InUse, Some(owner)) if owner < DomId::FIRST_RESERVED => {
                    let owned = owned.entry(owner).or_default();
                    if count.is_special() {
                        owned.shared += 1;
                    } else {
                        owned.pages += 1;
                    }
                }
                (FrameState::InUse, Some(_)) if count.is_special() => {}
                (FrameState::InUse, owner) => {
                    faults.push(format!("{mfn:?} is in use but owned by {owner:?}"));
                }
                (state, owner) => {
                    free += u64::from(state == FrameState::Free);
                    if let Some(owner) = owner.filter(|_| state != FrameState::Unusable) {
                        faults.push(format!("{mfn:?} is {state:?} but owned by {owner:?}"));
                    }
                    // A guest writes only the entries of its own frames, and they go with the frame.
                    let entry = machine.m2p(mfn).map(|entry| entry.load(Ordering::Relaxed));
                    if let Some(entry) = entry.filter(|&entry| entry != Pfn::INVALID.get()) {
                        faults.push(format!("{mfn:?} is {state:?} but has M2P entry {entry:#x}"));
                    }
                }
            }
        }
        let listed = self.free_pages();
        if free != listed {
            faults.push(format!(
                "{free} frames are free, the free lists have {listed}"
            ));
        }
        for (id, counted) in owned {
            self.audit_account(id, counted, faults);
        }
    }

    fn audit_account(&self, id: DomId, counted: Owned, faults: &mut Vec<String>) {
        let Some(account) = self.account(id) else {
            faults.push(format!("{id:?} owns {counted:?} but has no account"));
            return;
        };
        let recorded = Owned {
            pages: account.total_pages(),
            shared: account.shared_pages(),
        };
        if recorded != counted {
            faults.push(format!("{id:?} recorded {recorded:?}, counted {counted:?}"));
        }
        let mut listed = 0;
        account.for_each(self, |mfn| {
            listed += 1;
            let owner = self.owner(mfn);
            if owner != Some(id) {
                faults.push(format!(
                    "{mfn:?} is in the list of {id:?} but owned by {owner:?}"
                ));
            }
            // A list that runs in a circle ends all the same.
            listed <= counted.pages
        });
        if listed != counted.pages {
            faults.push(format!(
                "the list of {id:?} has {listed} pages, counted {counted:?}"
            ));
        }
    }
}
