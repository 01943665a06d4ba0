//! Memory of another domain: types of its frames, device memory, its view of NUMA.

use alloc::sync::Arc;
use core::ops::Range;

use hypercall_abi::domctl::DomctlPagingMempool;
use hypercall_abi::domctl::{
    DOMCTL_PFINFO_L1TAB, DOMCTL_PFINFO_L2TAB, DOMCTL_PFINFO_L3TAB, DOMCTL_PFINFO_L4TAB,
    DOMCTL_PFINFO_LPINTAB, DOMCTL_PFINFO_NOTAB, DOMCTL_PFINFO_XTAB, Domctl, DomctlCmd,
    DomctlGetpageframeinfo3, DomctlMemoryMapping,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::DomId;

use super::Call;
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::mm::{Memory, PageType};
use crate::num::{Mfn, PAGE_SIZE};

/// Frames that can be asked for at once.
const MAX_FRAMES: u64 = 1024;

impl<M: Machine> Call<'_, M> {
    /// Does `op` if it is one of this file's; `None` otherwise.
    pub(super) fn memory_domctl(
        &self,
        op: &Domctl,
        target: &Arc<Domain>,
        at: GuestHandle<u8>,
    ) -> Option<Result<(), Errno>> {
        Some(match op.cmd {
            DomctlCmd::GETPAGEFRAMEINFO3 => self.frame_types(target, op.u.as_getpageframeinfo3()),
            DomctlCmd::MEMORY_MAPPING => self.device_mapping(op.u.as_memory_mapping()),
            DomctlCmd::SETVNUMAINFO => self.set_vnuma(target, op.u.as_vnuma()),
            // Memory for the tables that translate a guest's frames: a PV guest has none.
            DomctlCmd::GET_PAGING_MEMPOOL_SIZE => target
                .hvm
                .as_ref()
                .ok_or(Errno::EOPNOTSUPP)
                .and_then(|hvm| {
                    let size = hvm.p2m.limit() * PAGE_SIZE;
                    self.hv
                        .machine
                        .write(at.cast(), &DomctlPagingMempool { size })
                }),
            DomctlCmd::SET_PAGING_MEMPOOL_SIZE => target
                .hvm
                .as_ref()
                .ok_or(Errno::EOPNOTSUPP)
                .and_then(|hvm| {
                    let size = op.u.as_paging_mempool().size;
                    if !size.is_multiple_of(PAGE_SIZE) {
                        return Err(Errno::EINVAL);
                    }
                    hvm.p2m
                        .set_limit((size / PAGE_SIZE).max(hvm.p2m.table_count()));
                    Ok(())
                }),
            _ => return None,
        })
    }

    /// Tells the type of each frame in a list, in its place.
    fn frame_types(&self, target: &Domain, arg: DomctlGetpageframeinfo3) -> Result<(), Errno> {
        if arg.num > MAX_FRAMES {
            return Err(Errno::E2BIG);
        }
        let machine = &self.hv.machine;
        for index in 0..arg.num {
            let mfn = Mfn(machine.read_at(arg.array, index)?);
            let kind = frame_type(&self.hv.mem, mfn, target.id);
            machine.write_at(arg.array, index, &u64::from(kind))?;
        }
        Ok(())
    }

    /// Mappings of device memory that the hypervisor makes for a guest.
    fn device_mapping(&self, arg: DomctlMemoryMapping) -> Result<(), Errno> {
        let machine_frames = frames(arg.first_mfn, arg.nr_mfns)?;
        frames(arg.first_gfn, arg.nr_mfns)?;
        if machine_frames.end > self.hv.mem.frame_limit() {
            return Err(Errno::EINVAL);
        }
        // ABI: a PV guest makes its own.
        Ok(())
    }
}

/// The frames from `first` on.
///
/// # Errors
/// `EINVAL` if there are none or their numbers overflow.
fn frames(first: u64, count: u64) -> Result<Range<u64>, Errno> {
    let end = first.checked_add(count).ok_or(Errno::EINVAL)?;
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(first..end)
}

/// What a frame of `owner` is in use as.
fn frame_type(mem: &Memory, mfn: Mfn, owner: DomId) -> u32 {
    // Frames of the hypervisor's that the domain may map are none of those that can be saved.
    let Some(_page) = mem.get_page(mfn, owner).filter(|_| !mem.is_special(mfn)) else {
        return DOMCTL_PFINFO_XTAB;
    };
    let word = mem.type_of(mfn);
    let table = match word.kind() {
        _ if !word.is_valid() && !word.is_pinned() => DOMCTL_PFINFO_NOTAB,
        PageType::L1 => DOMCTL_PFINFO_L1TAB,
        PageType::L2 => DOMCTL_PFINFO_L2TAB,
        PageType::L3 => DOMCTL_PFINFO_L3TAB,
        PageType::L4 => DOMCTL_PFINFO_L4TAB,
        PageType::None | PageType::Writable | PageType::SegDesc => DOMCTL_PFINFO_NOTAB,
    };
    if word.is_pinned() {
        table | DOMCTL_PFINFO_LPINTAB
    } else {
        table
    }
}
