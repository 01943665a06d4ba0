//! Unmapping grants (GNTTABOP_unmap_grant_ref, GNTTABOP_unmap_and_replace).
//!
//! In batches: first the page-table entries go, then the mapper's processors forget their translations, and only then
//! do references and pins go (TLB before page, always).

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::grant_table::GntStatus;

use super::active::Use;
use super::maptrack::Mapping;
use super::table::Held;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Flush, Machine};
use crate::num::{GrantHandle, Mfn};
use crate::pv::mm::flush_domain;
use crate::pv::mm::grant_map::{self, Place};

/// Elements that share one flush, as in Xen.
const BATCH: usize = 32;

/// What to unmap.
#[derive(Clone, Copy, Debug)]
pub struct Unmap {
    /// Where the page is mapped; 0 leaves the processor's mapping.
    pub host_addr: u64,
    /// The page's bus address; 0 leaves the devices' mapping.
    pub dev_bus_addr: u64,
    /// Address whose mapping takes the place of the grant's.
    pub replace_by: Option<u64>,
    /// The mapping.
    pub handle: GrantHandle,
}

/// A mapping whose entry is gone and whose references are not.
#[derive(Debug)]
struct Unmapped {
    mapping: Mapping,
    used: Use,
    frame: Mfn,
}

/// Mappings that wait for the flush. [`UnmapBatch::finish`] must be called.
#[derive(Debug, Default)]
#[must_use]
pub struct UnmapBatch {
    waiting: Vec<Unmapped>,
}

impl UnmapBatch {
    /// Nothing waits.
    pub const fn new() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }

    /// Whether the batch is due for its flush.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH
    }

    /// Unmaps one grant of `domain`, whose loaded L4 table is `root`, as far as that goes before the flush.
    pub fn unmap<M: Machine>(
        &mut self,
        hv: &Hypervisor<M>,
        domain: &Arc<Domain>,
        root: Option<Mfn>,
        op: Unmap,
    ) -> GntStatus {
        let taken = domain.grants.mapped.lock().take(op.handle);
        let mut mapping = match taken {
            Ok(mapping) => mapping,
            Err(status) => return status,
        };
        let outcome = self.take_apart(hv, domain, root, op, &mut mapping);
        domain.grants.mapped.lock().give_back(op.handle, mapping);
        outcome.err().unwrap_or(GntStatus::OKAY)
    }

    fn take_apart<M: Machine>(
        &mut self,
        hv: &Hypervisor<M>,
        domain: &Domain,
        root: Option<Mfn>,
        op: Unmap,
        mapping: &mut Mapping,
    ) -> Result<(), GntStatus> {
        let granter = mapping.granter.clone();
        let frame = {
            let given = granter.grants.given.lock();
            given
                .active(mapping.reference)
                .ok_or(GntStatus::GENERAL_ERROR)?
                .frame
        };
        let write = !mapping.readonly;
        let device = mapping.device && op.dev_bus_addr != 0;
        if device && op.dev_bus_addr != frame.addr() {
            return Err(GntStatus::BAD_DEV_ADDR);
        }
        let host = mapping.host && op.host_addr != 0;
        if host {
            // A hold of our own until after the flush. A page that cannot be held is not mapped any more: the guest has
            // overwritten the entry, and keeps its pin.
            let held = Held::get(&hv.mem, frame, granter.id, write)
                .map_err(|_| GntStatus::GENERAL_ERROR)?;
            let place = Place {
                root,
                host_addr: op.host_addr,
                contains_pte: mapping.contains_pte,
            };
            match op.replace_by {
                None | Some(0) => grant_map::destroy(hv, domain, place, frame, write)?,
                Some(by) => grant_map::replace(hv, domain, place, frame, write, by)?,
            }
            let _ = held.into_raw();
            mapping.host = false;
        }
        if device {
            mapping.device = false;
        }
        if host || device {
            let used = Use {
                host,
                device,
                write,
            };
            self.waiting.push(Unmapped {
                mapping: mapping.clone(),
                used,
                frame,
            });
        }
        Ok(())
    }

    /// Flushes, then gives references and pins back.
    pub fn finish<M: Machine>(&mut self, hv: &Hypervisor<M>, domain: &Domain) {
        if self.waiting.iter().any(|unmapped| unmapped.used.host) {
            flush_domain(hv, domain, Flush::All);
        }
        for Unmapped {
            mapping,
            used,
            frame,
        } in self.waiting.drain(..)
        {
            for _ in 0..u32::from(used.host) + u32::from(used.device) {
                drop(Held::adopt(&hv.mem, frame, used.write));
            }
            mapping
                .granter
                .grants
                .given
                .lock()
                .end(&hv.machine, mapping.reference, used);
        }
    }
}
