//! Memory of other domains: reservations, claims, memory maps, page-table operations.
//!
//! Contract: public/memory.h and `mmuext_op` of public/xen.h.

use std::mem::offset_of;

use hypercall_abi::domctl::{Domctl, DomctlCmd, DomctlGetpageframeinfo3, DomctlU};
use hypercall_abi::hvm::e820::E820Entry;
use hypercall_abi::memory::{
    ForeignMemoryMap, MemoryDomain, MemoryMap, MemoryOp, MemoryReservation,
};
use hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd, MmuextOp, MmuextOpArg1};
use zerocopy::{FromZeros, IntoBytes};

use super::{Arg, Lent, Xen, XenError};

impl dyn Xen + '_ {
    fn memory_op(
        &self,
        op: MemoryOp,
        domain: DomId,
        argument: &mut [u8],
        lent: Vec<Lent<'_>>,
    ) -> Result<u64, XenError> {
        let result = self.call(
            HypercallNr::MEMORY_OP,
            &mut [Arg::Number(op.0.into()), Arg::Memory(argument, lent)],
        );
        result.map_err(|errno| {
            let name = op.name().unwrap_or("").trim_start_matches("XENMEM_");
            XenError::new(format!("memory_op {name}"), Some(domain), errno)
        })
    }

    /// Gives `domain` memory: each element of `frames` is the guest frame where 2^`order` frames begin, and becomes the machine
    /// frame that they got. How many were filled: fewer than asked for when memory ran out.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn populate(
        &self,
        domain: DomId,
        order: u32,
        frames: &mut [u64],
    ) -> Result<usize, XenError> {
        let mut reservation = MemoryReservation {
            nr_extents: frames.len() as u64,
            extent_order: order,
            domid: domain,
            ..MemoryReservation::new_zeroed()
        };
        let lent = vec![Lent {
            bytes: frames.as_mut_bytes(),
            address_at: offset_of!(MemoryReservation, extent_start),
        }];
        let done = self.memory_op(
            MemoryOp::POPULATE_PHYSMAP,
            domain,
            reservation.as_mut_bytes(),
            lent,
        )?;
        Ok(usize::try_from(done).unwrap_or(0).min(frames.len()))
    }

    /// Sets aside `pages` pages of free memory for `domain`; 0 gives the rest back.
    ///
    /// # Errors
    /// ENOMEM: there are not as many.
    pub fn claim(&self, domain: DomId, pages: u64) -> Result<(), XenError> {
        let mut reservation = MemoryReservation {
            nr_extents: pages,
            domid: domain,
            ..MemoryReservation::new_zeroed()
        };
        self.memory_op(
            MemoryOp::CLAIM_PAGES,
            domain,
            reservation.as_mut_bytes(),
            Vec::new(),
        )
        .map(|_| ())
    }

    /// Sets the memory map that `domain` reads: `kib` of memory from 0.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn set_memory_limit_map(&self, domain: DomId, kib: u64) -> Result<(), XenError> {
        let mut entry = E820Entry {
            addr: 0,
            size: kib << 10,
            r#type: E820Entry::RAM,
        };
        let mut map = ForeignMemoryMap::new_zeroed();
        map.domid = domain;
        map.map.nr_entries = 1;
        let lent = vec![Lent {
            bytes: entry.as_mut_bytes(),
            address_at: offset_of!(ForeignMemoryMap, map) + offset_of!(MemoryMap, buffer),
        }];
        self.memory_op(MemoryOp::SET_MEMORY_MAP, domain, map.as_mut_bytes(), lent)
            .map(|_| ())
    }

    /// Pages saved by sharing in all domains, and pages shared.
    #[must_use]
    pub fn sharing(&self) -> (u64, u64) {
        let count = |op: MemoryOp| {
            self.call(HypercallNr::MEMORY_OP, &mut [Arg::Number(op.0.into())])
                .unwrap_or(0)
        };
        (
            count(MemoryOp::GET_SHARING_FREED_PAGES),
            count(MemoryOp::GET_SHARING_SHARED_PAGES),
        )
    }

    /// The highest guest frame that `domain` uses.
    ///
    /// # Errors
    /// No such domain.
    pub fn maximum_gpfn(&self, domain: DomId) -> Result<u64, XenError> {
        let mut argument = MemoryDomain { domid: domain };
        self.memory_op(
            MemoryOp::MAXIMUM_GPFN,
            domain,
            argument.as_mut_bytes(),
            Vec::new(),
        )
    }

    /// Makes the frame `mfn` a pinned level-4 page table of `domain`, with all below it.
    ///
    /// # Errors
    /// An entry maps what it may not.
    pub fn pin_l4(&self, domain: DomId, mfn: u64) -> Result<(), XenError> {
        let mut op = MmuextOp::new_zeroed();
        op.cmd = MmuextCmd::PIN_L4_TABLE;
        op.arg1 = MmuextOpArg1::from_mfn(mfn);
        self.mmuext_op(domain, op, "mmuext_op PIN_L4_TABLE")
    }

    /// Pins page tables of `domain`, each of the level that its command says.
    ///
    /// # Errors
    /// A frame is no such table.
    pub fn pin_tables(&self, domain: DomId, tables: &[(MmuextCmd, u64)]) -> Result<(), XenError> {
        let mut ops: Vec<MmuextOp> = tables
            .iter()
            .map(|(cmd, mfn)| MmuextOp {
                cmd: *cmd,
                arg1: MmuextOpArg1::from_mfn(*mfn),
                ..MmuextOp::new_zeroed()
            })
            .collect();
        let result = self.call(
            HypercallNr::MMUEXT_OP,
            &mut [
                Arg::Memory(ops.as_mut_bytes(), Vec::new()),
                Arg::Number(tables.len() as u64),
                Arg::Number(0),
                Arg::Number(domain.0.into()),
            ],
        );
        result
            .map(|_| ())
            .map_err(|errno| XenError::new("mmuext_op PIN_TABLE", Some(domain), errno))
    }

    /// What each of at most 1024 frames is (`XEN_DOMCTL_PFINFO_*`), in place of its number.
    ///
    /// # Errors
    /// No such domain.
    pub fn page_types(&self, domain: DomId, frames: &mut [u64]) -> Result<(), XenError> {
        let payload = DomctlU::from_getpageframeinfo3(DomctlGetpageframeinfo3 {
            num: frames.len() as u64,
            ..DomctlGetpageframeinfo3::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: frames.as_mut_bytes(),
            address_at: offset_of!(Domctl, u) + offset_of!(DomctlGetpageframeinfo3, array),
        }];
        self.domctl(DomctlCmd::GETPAGEFRAMEINFO3, domain, payload, lent)
            .map(|_| ())
    }

    /// Fills a frame of `domain` with zeros.
    ///
    /// # Errors
    /// The frame is not the domain's.
    pub fn clear_page(&self, domain: DomId, mfn: u64) -> Result<(), XenError> {
        let mut op = MmuextOp::new_zeroed();
        op.cmd = MmuextCmd::CLEAR_PAGE;
        op.arg1 = MmuextOpArg1::from_mfn(mfn);
        self.mmuext_op(domain, op, "mmuext_op CLEAR_PAGE")
    }

    fn mmuext_op(&self, domain: DomId, mut op: MmuextOp, name: &str) -> Result<(), XenError> {
        let result = self.call(
            HypercallNr::MMUEXT_OP,
            &mut [
                Arg::Memory(op.as_mut_bytes(), Vec::new()),
                Arg::Number(1),
                Arg::Number(0),
                Arg::Number(domain.0.into()),
            ],
        );
        result
            .map(|_| ())
            .map_err(|errno| XenError::new(name, Some(domain), errno))
    }
}
