//! XENMEM_increase_reservation, XENMEM_decrease_reservation, XENMEM_populate_physmap, XENMEM_claim_pages.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{
    MemFlags, MemoryOp, MemoryReservation, mem_flags_address_bits, mem_flags_node,
};
use hypercall_abi::xen::DomId;

use super::vnuma::MAX_NODES;
use super::{OP_BITS, continued};
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hypercall::Call;
use crate::hypervisor::Hypervisor;
use crate::machine::{Frames, Machine};
use crate::mm::AllocOptions;
use crate::num::{Mfn, PAGE_SHIFT, Pfn};
use crate::outcome::{HypercallResult, Outcome};

/// The largest extent that can be asked for with populate on demand (Xen: MAX_ORDER).
const MAX_ORDER_ON_DEMAND: u32 = 18;
/// "Any node" in `mem_flags` (NUMA_NO_NODE).
const NO_NODE: u32 = 0xff;

impl<M: Machine> Call<'_, M> {
    pub(super) fn reservation(
        &mut self,
        op: MemoryOp,
        start: u64,
        arg: GuestHandle<MemoryReservation>,
    ) -> HypercallResult {
        let machine = &self.hv.machine;
        let Ok(request) = machine.read(arg) else {
            return Ok(Outcome::Done(start));
        };
        let wanted = request.nr_extents;
        let flags = MemFlags::from_bits_retain(request.mem_flags);
        let on_demand =
            op == MemoryOp::POPULATE_PHYSMAP && flags.contains(MemFlags::POPULATE_ON_DEMAND);
        let most = if on_demand {
            MAX_ORDER_ON_DEMAND
        } else {
            self.max_order()
        };
        if wanted > u64::MAX >> OP_BITS || start >= wanted || request.extent_order > most {
            return Ok(Outcome::Done(start));
        }
        let Ok(target) = self.target(request.domid) else {
            return Ok(Outcome::Done(start));
        };
        let Ok(options) = self.allocation(&target, request.mem_flags) else {
            return Ok(Outcome::Done(start));
        };
        if on_demand {
            // ABI: only what the hypervisor translates can be populated later. For another PV domain that is said by doing
            // nothing, for oneself by stopping.
            let done = if target.id == self.domain.id {
                start
            } else {
                wanted
            };
            return Ok(Outcome::Done(done));
        }
        let mut done = start;
        while done < wanted {
            if done != start && machine.must_yield() {
                return Ok(Outcome::Again([
                    continued(op, done),
                    arg.addr(),
                    0,
                    0,
                    0,
                    0,
                ]));
            }
            let extent = match op {
                MemoryOp::DECREASE_RESERVATION => self.remove_extent(&target, &request, done),
                MemoryOp::INCREASE_RESERVATION => self.add_extent(&target, &request, options, done),
                _ => self.populate_extent(&target, &request, options, done),
            };
            if extent.is_err() {
                break;
            }
            done += 1;
        }
        Ok(Outcome::Done(done))
    }

    /// The largest extent that the caller may ask for (XSA-31).
    pub(super) fn max_order(&self) -> u32 {
        let privileges = self.domain.privileges;
        match (privileges.control, privileges.hardware) {
            (true, _) => 18,
            (false, true) => 12,
            (false, false) => 9,
        }
    }

    /// What `mem_flags` of a request for `target` say about the memory.
    ///
    /// # Errors
    /// `EINVAL` if there can be no such memory, or for a node that the caller may not insist on.
    pub(super) fn allocation(
        &self,
        target: &Domain,
        mem_flags: u32,
    ) -> Result<AllocOptions, Errno> {
        let flags = MemFlags::from_bits_retain(mem_flags);
        let bits = mem_flags_address_bits(mem_flags);
        if bits != 0 && bits <= PAGE_SHIFT {
            return Err(Errno::EINVAL);
        }
        let node = mem_flags_node(mem_flags);
        let exact = flags.contains(MemFlags::EXACT_NODE_REQUEST);
        let wanted = if flags.contains(MemFlags::VNODE) {
            match target.pages.vnuma() {
                Some(vnuma) => {
                    let machine_node = vnuma.machine_node.get(node as usize);
                    Some(*machine_node.ok_or(Errno::EINVAL)?)
                }
                None => None,
            }
        } else if node == NO_NODE {
            None
        } else if self.domain.privileges.control || self.domain.privileges.hardware {
            if node >= MAX_NODES {
                return Err(Errno::EINVAL);
            }
            Some(node)
        } else if exact {
            return Err(Errno::EINVAL);
        } else {
            None
        };
        Ok(AllocOptions {
            exact_node: wanted.filter(|_| exact),
            ..AllocOptions::below_bits(bits)
        })
    }

    fn new_extent(&self, target: &Domain, order: u32, options: AllocOptions) -> Result<Mfn, Errno> {
        let hv = self.hv;
        hv.mem
            .allocate(&hv.machine, &target.pages, order, options)
            .ok_or(Errno::ENOMEM)
    }

    fn add_extent(
        &self,
        target: &Domain,
        request: &MemoryReservation,
        options: AllocOptions,
        index: u64,
    ) -> Result<(), Errno> {
        let first = self.new_extent(target, request.extent_order, options)?;
        if request.extent_start.is_null() {
            return Ok(());
        }
        self.hv
            .machine
            .write_at(request.extent_start, index, &first.0)
    }

    fn populate_extent(
        &self,
        target: &Domain,
        request: &MemoryReservation,
        options: AllocOptions,
        index: u64,
    ) -> Result<(), Errno> {
        let pfn = Pfn(self.hv.machine.read_at(request.extent_start, index)?);
        let first = self.new_extent(target, request.extent_order, options)?;
        if let Some(hvm) = &target.hvm {
            return self.populate_translated(target, hvm, pfn, first, request.extent_order);
        }
        for i in 0..1u64 << request.extent_order {
            enter_m2p(self.hv, target.id, first.offset(i), pfn.offset(i));
        }
        self.hv
            .machine
            .write_at(request.extent_start, index, &first.0)
    }

    fn remove_extent(
        &self,
        target: &Domain,
        request: &MemoryReservation,
        index: u64,
    ) -> Result<(), Errno> {
        let first = Mfn(self.hv.machine.read_at(request.extent_start, index)?);
        for i in 0..1u64 << request.extent_order {
            let frame = first.offset(i);
            match &target.hvm {
                Some(hvm) => self.remove_translated(target, hvm, Pfn(frame.0))?,
                None => self.remove_page(target, frame)?,
            }
        }
        Ok(())
    }

    fn remove_page(&self, target: &Domain, mfn: Mfn) -> Result<(), Errno> {
        let mem = &self.hv.mem;
        let _page = mem.get_page(mfn, target.id).ok_or(Errno::EINVAL)?;
        // ABI: a page that was given up already and is still referred to may be given up again.
        if !mem.drop_allocation(&target.pages, mfn) && mem.is_special(mfn) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    pub(super) fn claim_pages(&self, arg: GuestHandle<MemoryReservation>) -> Result<u64, Errno> {
        let request = self.hv.machine.read(arg)?;
        if !request.extent_start.is_null() || request.extent_order != 0 || request.mem_flags != 0 {
            return Err(Errno::EINVAL);
        }
        if request.domid.0 >= DomId::FIRST_RESERVED.0 {
            return Err(Errno::EINVAL);
        }
        let target = self.hv.domains.get(request.domid).ok_or(Errno::EINVAL)?;
        if !self.domain.privileges.control {
            return Err(Errno::EPERM);
        }
        self.hv.mem.claim(&target.pages, request.nr_extents)?;
        Ok(0)
    }
}

/// Enters a page that was just given to `owner` in the machine-to-physical table. Another vCPU of the domain may have
/// given it up meanwhile: the entry is then another domain's.
pub(super) fn enter_m2p<M: Machine>(hv: &Hypervisor<M>, owner: DomId, mfn: Mfn, pfn: Pfn) {
    if let Some(_page) = hv.mem.get_page(mfn, owner) {
        set_m2p(&hv.machine, mfn, pfn);
    }
}

/// Writes an entry of the machine-to-physical table.
pub(super) fn set_m2p(frames: &impl Frames, mfn: Mfn, pfn: Pfn) {
    if let Some(entry) = frames.m2p(mfn) {
        entry.store(pfn.0, Ordering::Relaxed);
    }
}
