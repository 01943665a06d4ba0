//! Guest memory as a processor sees it: cached translations first, then a walk of the loaded tables.

use core::sync::atomic::Ordering;

use super::SimMachine;
use crate::hvm::GuestView;
use crate::machine::{Cpus, Frames, GuestFault, GuestMemory};
use crate::num::{CpuId, Mfn, PAGE_SIZE};
use crate::pv::mm::entry;

/// A cached translation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cached {
    mfn: Mfn,
    writable: bool,
    /// The dirty bit is known to be set: writes need no new walk.
    dirty: bool,
    pub(super) global: bool,
}

/// Where the processor finds the machine-to-physical table.
const M2P: core::ops::Range<u64> = 0xffff_8000_0000_0000..0xffff_8080_0000_0000;

impl SimMachine {
    /// Translates as hardware does for ring 3.
    fn translate(&self, cpu: CpuId, addr: u64, write: bool) -> Result<Mfn, GuestFault> {
        let page = addr >> 12;
        let cached = self.cpu(cpu).tlb.get(&page).copied();
        if let Some(cached) = cached
            && (!write || (cached.writable && cached.dirty))
        {
            return Ok(cached.mfn);
        }
        let fault = |present| GuestFault {
            addr,
            write,
            present,
        };
        let root = self.cpu(cpu).root.ok_or(fault(false))?;
        let mut table = root;
        let (mut writable, mut value) = (true, 0);
        for level in (1..=4).rev() {
            let index = entry::index(addr, level);
            if !crate::num::is_canonical(addr)
                || (level == 4 && entry::HYPERVISOR_SLOTS.contains(&index))
            {
                return Err(fault(false));
            }
            let word = &self.words(table)[index];
            value = word.load(Ordering::SeqCst);
            if value & entry::PRESENT == 0 {
                return Err(fault(false));
            }
            assert!(
                level == 1 || value & entry::PAT == 0,
                "sim: superpage {value:#x} in a guest's table"
            );
            if value & entry::USER == 0 {
                return Err(fault(true));
            }
            writable &= value & entry::RW != 0;
            if level == 1 && write && !writable {
                return Err(fault(true));
            }
            let seen = entry::ACCESSED | if level == 1 && write { entry::DIRTY } else { 0 };
            if value & seen != seen
                && word
                    .compare_exchange(value, value | seen, Ordering::SeqCst, Ordering::SeqCst)
                    .is_err()
            {
                return self.translate(cpu, addr, write);
            }
            table = entry::target(value);
        }
        let dirty = write || value & entry::DIRTY != 0;
        let cached = Cached {
            mfn: table,
            writable,
            dirty,
            global: value & entry::GLOBAL != 0,
        };
        self.cpu(cpu).tlb.insert(page, cached);
        Ok(table)
    }

    /// The frame that the processor `cpu` would write to at `addr`, cached or not.
    ///
    /// # Errors
    /// The fault it would raise.
    pub fn probe_write(&self, cpu: CpuId, addr: u64) -> Result<Mfn, GuestFault> {
        self.translate(cpu, addr, true)
    }
}

/// Calls `visit` with each part of the range that lies within a page: address, offset in the buffer, length.
fn by_page(
    addr: u64,
    len: usize,
    mut visit: impl FnMut(u64, usize, usize) -> Result<(), GuestFault>,
) -> Result<(), GuestFault> {
    let mut done = 0;
    while done < len {
        let at = addr.wrapping_add(done as u64);
        let n = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(len - done);
        visit(at, done, n)?;
        done += n;
    }
    Ok(())
}

impl GuestMemory for SimMachine {
    fn set_guest_view(&self, view: Option<GuestView>) {
        self.cpu(self.this_cpu()).view = view;
    }

    fn guest_view(&self) -> Option<GuestView> {
        self.cpu(self.this_cpu()).view
    }

    fn copy_from_guest(&self, addr: u64, buf: &mut [u8]) -> Result<(), GuestFault> {
        let cpu = self.this_cpu();
        if let Some(view) = self.guest_view() {
            return view.copy_from(self, addr, buf);
        }
        by_page(addr, buf.len(), |at, done, n| {
            let part = &mut buf[done..done + n];
            if M2P.contains(&at) {
                for (i, byte) in part.iter_mut().enumerate() {
                    let offset = at - M2P.start + i as u64;
                    let entry = self.m2p(Mfn(offset / 8)).ok_or(GuestFault {
                        addr: at,
                        write: false,
                        present: false,
                    })?;
                    *byte = entry.load(Ordering::Relaxed).to_le_bytes()[(offset % 8) as usize];
                }
                return Ok(());
            }
            let mfn = self.translate(cpu, at, false)?;
            if self.has_frame(mfn) {
                self.read_frame(mfn, (at % PAGE_SIZE) as usize, part);
            } else {
                part.fill(0xff);
            }
            Ok(())
        })
    }

    fn copy_to_guest(&self, addr: u64, buf: &[u8]) -> Result<(), GuestFault> {
        let cpu = self.this_cpu();
        if let Some(view) = self.guest_view() {
            return view.copy_to(self, addr, buf);
        }
        by_page(addr, buf.len(), |at, done, n| {
            let mfn = self.translate(cpu, at, true)?;
            if self.has_frame(mfn) {
                self.write_frame(mfn, (at % PAGE_SIZE) as usize, &buf[done..done + n]);
            }
            Ok(())
        })
    }
}
