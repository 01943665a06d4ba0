//! `memory_op`: reservations, exchange, maps of memory.
//!
//! Contract: public header memory.h. The six low bits of the command are the operation, the rest the extent at which a
//! preempted call goes on. Reservation operations answer with the number of extents done, whatever went wrong.

mod exchange;
mod maps;
mod physmap;
mod reservation;
mod resource;
#[cfg(test)]
mod tests;
mod vnuma;

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{
    MemAccessOpArg, MemoryDomain, MemoryOp, PodTarget, RDM_ALL, ReservedDeviceMemoryMap,
};
use hypercall_abi::xen::DomId;
use zerocopy::{FromBytes, IntoBytes};

use super::Call;
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// Bits of the command that are the operation.
const OP_BITS: u32 = 6;

/// The command of a continuation.
const fn continued(op: MemoryOp, extent: u64) -> u64 {
    op.0 as u64 | extent << OP_BITS
}

impl<M: Machine> Call<'_, M> {
    pub(super) fn memory_op(&mut self, cmd: u64, arg: GuestHandle<u8>) -> HypercallResult {
        use MemoryOp as Op;
        let op = Op((cmd & ((1 << OP_BITS) - 1)) as u32);
        let start = cmd >> OP_BITS;
        // Pages that were tables a moment ago must be what the guest thinks they are.
        self.settle(&self.domain.pages)?;
        match op {
            Op::INCREASE_RESERVATION | Op::DECREASE_RESERVATION | Op::POPULATE_PHYSMAP => {
                return self.reservation(op, start, arg.cast());
            }
            Op::EXCHANGE if self.domain.is_translated() => return Err(Errno::EOPNOTSUPP.into()),
            Op::EXCHANGE => return self.exchange(arg.cast()),
            Op::ACQUIRE_RESOURCE => return self.acquire_resource(start, arg.cast()),
            Op::ADD_TO_PHYSMAP => return self.add_to_physmap(arg.cast(), start),
            Op::ADD_TO_PHYSMAP_BATCH => return self.add_to_physmap_batch(arg.cast(), start),
            _ if start != 0 => return Err(Errno::EINVAL.into()),
            _ => {}
        }
        let value = match op {
            Op::MACHINE_MEMORY_MAP | Op::MACHPHYS_MAPPING if self.domain.is_translated() => {
                return Err(Errno::ENOSYS.into());
            }
            Op::MACHPHYS_MFN_LIST if self.domain.is_translated() => {
                return Err(Errno::EINVAL.into());
            }
            Op::MAXIMUM_RAM_PAGE => self.hv.machine.max_mfn().0,
            Op::CURRENT_RESERVATION => self.named_domain(arg.cast())?.pages.total_pages(),
            Op::MAXIMUM_RESERVATION => self.named_domain(arg.cast())?.pages.max_pages(),
            Op::MAXIMUM_GPFN => self.maximum_gpfn(arg.cast())?,
            Op::MACHPHYS_MFN_LIST => self.machphys_mfn_list(arg.cast())?,
            Op::MACHPHYS_MAPPING => self.machphys_mapping(arg.cast())?,
            Op::MEMORY_MAP => self.memory_map(arg.cast())?,
            Op::MACHINE_MEMORY_MAP => self.machine_memory_map(arg.cast())?,
            Op::SET_MEMORY_MAP => self.set_memory_map(arg.cast())?,
            Op::CLAIM_PAGES => self.claim_pages(arg.cast())?,
            Op::RESERVED_DEVICE_MEMORY_MAP => self.reserved_device_memory(arg.cast())?,
            // Nothing is shared copy-on-write.
            Op::GET_SHARING_FREED_PAGES | Op::GET_SHARING_SHARED_PAGES => 0,
            Op::REMOVE_FROM_PHYSMAP => self.remove_from_physmap(arg.cast())?,
            Op::SET_POD_TARGET | Op::GET_POD_TARGET => {
                let request: PodTarget = self.argument(arg)?;
                return self.not_for_pv(request.domid, Errno::EINVAL);
            }
            Op::GET_VNUMAINFO => self.vnuma_info(arg.cast())?,
            Op::ACCESS_OP => {
                // Guests whose memory the hypervisor translates can be watched.
                let request: MemAccessOpArg = self.argument(arg)?;
                let target = self.hv.domains.get(request.domid).ok_or(Errno::ESRCH)?;
                let is_self = target.id == self.domain.id;
                return Err(if is_self { Errno::EPERM } else { Errno::EINVAL }.into());
            }
            // Paging, sharing, tables of 32-bit guests, and what nobody knows.
            _ => return Err(Errno::ENOSYS.into()),
        };
        Ok(Outcome::Done(value))
    }

    fn argument<T: FromBytes + IntoBytes>(&self, arg: GuestHandle<u8>) -> Result<T, Errno> {
        self.hv.machine.read(arg.cast())
    }

    /// The domain that a request names, if the caller may change its reservation.
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`.
    fn target(&self, id: DomId) -> Result<Arc<Domain>, Errno> {
        let domain = self.hv.domain(self.domain, id).ok_or(Errno::ESRCH)?;
        if self.hv.may_map(self.domain, &domain) {
            Ok(domain)
        } else {
            Err(Errno::EPERM)
        }
    }

    fn named_domain(&self, arg: GuestHandle<MemoryDomain>) -> Result<Arc<Domain>, Errno> {
        let request = self.hv.machine.read(arg)?;
        self.target(request.domid)
    }

    /// Operations on guests whose addresses the hypervisor translates: no PV guest is one.
    fn not_for_pv(&self, id: DomId, errno: Errno) -> HypercallResult {
        // ABI: that the domain is none comes before who may ask.
        self.hv.domain(self.domain, id).ok_or(Errno::ESRCH)?;
        Err(errno.into())
    }

    fn reserved_device_memory(
        &self,
        arg: GuestHandle<ReservedDeviceMemoryMap>,
    ) -> Result<u64, Errno> {
        let mut request = self.hv.machine.read(arg)?;
        if request.flags & !RDM_ALL != 0 {
            return Err(Errno::EINVAL);
        }
        request.nr_entries = 0;
        self.hv.machine.write(arg, &request)?;
        Ok(0)
    }
}
