//! TRUSTED: pages of descriptors, which the processor reads through the hypervisor's windows.
//!
//! Contract: set_gdt, update_descriptor.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;

use super::{STRETCH, get_table};
use crate::domain::{DescriptorTable, Domain, GDT_GUEST_FRAMES, MAX_GDT_ENTRIES, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};
use crate::pv::descriptor;

/// Descriptors in a page.
const PER_PAGE: u32 = 512;

/// Checks all descriptors of a page and gives them ring 3's privilege.
pub(super) fn check_page<M: Machine>(hv: &Hypervisor<M>, mfn: Mfn) -> Result<(), Errno> {
    for word in hv.machine.words(mfn) {
        let value = word.load(Ordering::SeqCst);
        let checked = descriptor::check(value).ok_or(Errno::EINVAL)?;
        if checked != value {
            word.store(checked, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// Takes references on the frames of a GDT of `entries` descriptors.
fn get_gdt<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    frames: &[u64],
    entries: u32,
) -> Result<DescriptorTable, Stop> {
    if entries > MAX_GDT_ENTRIES {
        return Err(Errno::EINVAL.into());
    }
    let count = entries.div_ceil(PER_PAGE) as usize;
    if count > frames.len() || count > GDT_GUEST_FRAMES {
        return Err(Errno::EINVAL.into());
    }
    let mut table = DescriptorTable {
        frames: [None; GDT_GUEST_FRAMES],
        entries,
    };
    for (slot, &frame) in table.frames.iter_mut().zip(&frames[..count]) {
        match get_table(
            hv,
            domain,
            Mfn(frame),
            PageType::SegDesc,
            &mut Budget::new(STRETCH),
        ) {
            Ok(()) => *slot = Some(Mfn(frame)),
            Err(stop) => {
                put_gdt(hv, &table);
                return Err(stop);
            }
        }
    }
    Ok(table)
}

fn put_gdt<M: Machine>(hv: &Hypervisor<M>, table: &DescriptorTable) {
    for &frame in table.frames.iter().flatten() {
        hv.mem.put_page_and_type(frame);
    }
}

/// Gives a vCPU that runs nowhere a GDT.
///
/// # Errors
/// `EINVAL` for more entries than there may be, or frames that cannot be descriptor pages. `Preempted`: call again.
pub fn set_gdt_frames<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    frames: &[u64],
    entries: u32,
) -> Result<(), Stop> {
    let new = get_gdt(hv, domain, frames, entries)?;
    let old = core::mem::replace(&mut ctx.gdt, new);
    put_gdt(hv, &old);
    Ok(())
}

/// Gives the vCPU that runs here a GDT.
///
/// # Errors
/// As [`set_gdt_frames`].
pub fn load_gdt<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    frames: &[u64],
    entries: u32,
) -> Result<(), Stop> {
    let new = get_gdt(hv, domain, frames, entries)?;
    let old = core::mem::replace(&mut ctx.gdt, new);
    for (slot, frame) in new.frames.iter().enumerate() {
        hv.machine.set_gdt_slot(slot, *frame);
    }
    // Only now does the processor not write accessed bits to the old pages any more.
    put_gdt(hv, &old);
    Ok(())
}

/// Writes one descriptor at a machine address in a page of `domain`.
///
/// # Errors
/// `EINVAL` for an address that is not aligned, a page that is a page table or not the domain's, and for descriptors a
/// guest may not have.
pub fn update_descriptor<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    address: u64,
    value: u64,
) -> Result<(), Errno> {
    let checked = descriptor::check(value).ok_or(Errno::EINVAL)?;
    if !address.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let mfn = Mfn::from_addr(address);
    let page = hv.mem.get_page(mfn, domain.id).ok_or(Errno::EINVAL)?;
    let store =
        || hv.machine.words(mfn)[(address & 0xfff) as usize / 8].store(checked, Ordering::SeqCst);
    // The type is held while the word is stored, so that the page cannot become a page table in between.
    if hv.mem.get_valid_type(mfn, PageType::SegDesc) {
        store();
        hv.mem.put_page_and_type(page.into_raw());
    } else {
        let _writable = hv.mem.get_writable(mfn, domain.id)?;
        store();
    }
    Ok(())
}
