//! Memory maps and the machine-to-physical table.

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use alloc::vec::Vec;

use hypercall_abi::arch_x86::ArchSharedInfo;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::hvm::e820::E820Entry as AbiEntry;
use hypercall_abi::memory::{
    ForeignMemoryMap, MachphysMapping, MachphysMfnList, MemoryDomain, MemoryMap,
};
use hypercall_abi::xen::SharedInfo;

use crate::boot::e820::E820Entry;
use crate::guest::{GuestAccess, HYPERVISOR_START};
use crate::hypercall::Call;
use crate::machine::Machine;

/// Entries that a memory map can have.
const MAX_ENTRIES: u32 = 1024;
/// Bytes of the guest's window on the machine-to-physical table.
const M2P_WINDOW: u64 = 1 << 38;

impl<M: Machine> Call<'_, M> {
    pub(super) fn maximum_gpfn(&self, arg: GuestHandle<MemoryDomain>) -> Result<u64, Errno> {
        const WORD: usize =
            (offset_of!(SharedInfo, arch) + offset_of!(ArchSharedInfo, max_pfn)) / 8;
        let target = self.named_domain(arg)?;
        if let Some(hvm) = &target.hvm {
            return Ok(hvm.p2m.highest());
        }
        let words = self.hv.machine.words(target.shared_info);
        // A guest that has not said anything has frame 0.
        Ok(words[WORD].load(Ordering::Relaxed).saturating_sub(1))
    }

    /// Where the guest sees the table. An ordinary guest is shown the largest there can be, so that it can move to a
    /// larger host.
    pub(super) fn machphys_mapping(&self, arg: GuestHandle<MachphysMapping>) -> Result<u64, Errno> {
        let max_mfn = if self.domain.privileges.hardware {
            self.hv.machine.max_mfn().0.saturating_sub(1)
        } else {
            M2P_WINDOW / 8 - 1
        };
        let mapping = MachphysMapping {
            v_start: HYPERVISOR_START,
            v_end: HYPERVISOR_START + M2P_WINDOW,
            max_mfn,
        };
        self.hv.machine.write(arg, &mapping)?;
        Ok(0)
    }

    /// The frames of the table, one for each 2 MiB; a hole repeats the chunk before it.
    pub(super) fn machphys_mfn_list(
        &self,
        arg: GuestHandle<MachphysMfnList>,
    ) -> Result<u64, Errno> {
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        let mut last = 0;
        let mut count = 0;
        for chunk in self
            .hv
            .mem
            .m2p_chunks()
            .iter()
            .take(request.max_extents as usize)
        {
            last = chunk.map_or(last, |mfn| mfn.0);
            machine.write_at(request.extent_start, count.into(), &last)?;
            count += 1;
        }
        request.nr_extents = count;
        machine.write(arg, &request)?;
        Ok(0)
    }

    pub(super) fn memory_map(&self, arg: GuestHandle<MemoryMap>) -> Result<u64, Errno> {
        let mut request = self.hv.machine.read(arg)?;
        let map = self.domain.pages.memory_map().ok_or(Errno::ENOSYS)?;
        let room = request.nr_entries as usize;
        let count = self.write_map(request.buffer, map.iter().take(room))?;
        request.nr_entries = count;
        self.hv.machine.write(arg, &request)?;
        Ok(0)
    }

    pub(super) fn machine_memory_map(&self, arg: GuestHandle<MemoryMap>) -> Result<u64, Errno> {
        if !self.domain.privileges.control {
            return Err(Errno::EPERM);
        }
        let mut request = self.hv.machine.read(arg)?;
        let map = &self.hv.e820;
        // One entry to spare is demanded.
        if (request.nr_entries as usize) <= map.len() {
            return Err(Errno::EINVAL);
        }
        request.nr_entries = if request.buffer.is_null() {
            u32::try_from(map.len()).map_err(|_| Errno::EINVAL)?
        } else {
            self.write_map(request.buffer, map.iter())?
        };
        self.hv.machine.write(arg, &request)?;
        Ok(0)
    }

    fn write_map<'e>(
        &self,
        buffer: GuestHandle<AbiEntry>,
        entries: impl Iterator<Item = &'e E820Entry>,
    ) -> Result<u32, Errno> {
        let mut count = 0;
        for entry in entries {
            let entry = AbiEntry {
                addr: entry.addr,
                size: entry.size,
                r#type: entry.kind,
            };
            self.hv.machine.write_at(buffer, u64::from(count), &entry)?;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn set_memory_map(&self, arg: GuestHandle<ForeignMemoryMap>) -> Result<u64, Errno> {
        let request = self.hv.machine.read(arg)?;
        if request.map.nr_entries > MAX_ENTRIES {
            return Err(Errno::EINVAL);
        }
        let target = self.target(request.domid)?;
        let mut map = Vec::new();
        for i in 0..request.map.nr_entries {
            let entry = self.hv.machine.read_at(request.map.buffer, i.into())?;
            map.push(E820Entry {
                addr: entry.addr,
                size: entry.size,
                kind: entry.r#type,
            });
        }
        target.pages.set_memory_map(map);
        Ok(0)
    }
}
