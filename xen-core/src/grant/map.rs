//! Mapping a grant (GNTTABOP_map_grant_ref).

use alloc::sync::Arc;

use hypercall_abi::grant_table::{GntStatus, GntmapFlags, GnttabMapGrantRef};
use hypercall_abi::xen::DomId;

use super::active::Use;
use super::maptrack::Mapping;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{GrantHandle, GrantRef, Mfn};
use crate::pv::mm::grant_map::{self, Place};

impl<M: Machine> Hypervisor<M> {
    /// Maps one grant for `domain`, whose loaded L4 table is `root`. Fills in the output fields of `op`.
    pub fn map_grant(&self, domain: &Arc<Domain>, root: Option<Mfn>, op: &mut GnttabMapGrantRef) {
        op.status = match self.try_map(domain, root, op) {
            Ok((handle, frame)) => {
                op.handle = handle.0;
                op.dev_bus_addr = frame.addr();
                GntStatus::OKAY
            }
            Err(status) => status,
        };
    }

    fn try_map(
        &self,
        domain: &Arc<Domain>,
        root: Option<Mfn>,
        op: &GnttabMapGrantRef,
    ) -> Result<(GrantHandle, Mfn), GntStatus> {
        let flags = GntmapFlags::from_bits_retain(op.flags);
        let host = flags.contains(GntmapFlags::HOST_MAP);
        let device = flags.contains(GntmapFlags::DEVICE_MAP);
        if !host && !device {
            return Err(GntStatus::BAD_GNTREF);
        }
        // ABI: only a number names the granter, DOMID_SELF does not.
        let granter = self.granter(domain, op.dom).ok_or(GntStatus::BAD_DOMAIN)?;
        // Handles are the hypervisor's memory.
        self.check_heap().map_err(|_| GntStatus::NO_SPACE)?;
        let handle = domain.grants.mapped.lock().reserve()?;
        let mapping = Mapping {
            granter,
            reference: GrantRef(op.r#ref),
            host,
            device,
            readonly: flags.contains(GntmapFlags::READONLY),
            contains_pte: flags.contains(GntmapFlags::CONTAINS_PTE),
        };
        match self.establish(domain, root, &mapping, op.host_addr, flags) {
            Ok(frame) => {
                domain.grants.mapped.lock().complete(handle, mapping);
                Ok((handle, frame))
            }
            Err(status) => {
                domain.grants.mapped.lock().cancel(handle);
                Err(status)
            }
        }
    }

    /// The domain with this number.
    pub(super) fn granter(&self, caller: &Arc<Domain>, id: DomId) -> Option<Arc<Domain>> {
        if id == caller.id {
            Some(caller.clone())
        } else {
            self.domains.get(id)
        }
    }

    /// Pins the grant, makes the page-table entry, keeps the device's references.
    fn establish(
        &self,
        domain: &Domain,
        root: Option<Mfn>,
        mapping: &Mapping,
        host_addr: u64,
        flags: GntmapFlags,
    ) -> Result<Mfn, GntStatus> {
        let Mapping {
            granter,
            reference,
            host,
            device,
            readonly,
            contains_pte,
        } = mapping;
        let used = Use {
            host: *host,
            device: *device,
            write: !*readonly,
        };
        let held = granter.grants.given.lock().begin(
            &self.machine,
            &self.mem,
            granter.id,
            *reference,
            domain.id,
            used,
        )?;
        let frame = held.mfn();
        if *host {
            let place = Place {
                root,
                host_addr,
                contains_pte: *contains_pte,
            };
            if let Err(status) = grant_map::create(self, domain, place, frame, granter.id, flags) {
                granter
                    .grants
                    .given
                    .lock()
                    .end(&self.machine, *reference, used);
                return Err(status);
            }
        }
        if *device {
            // The devices' hold on the page; the page-table entry has its own.
            let _ = held.into_raw();
        }
        Ok(frame)
    }
}
