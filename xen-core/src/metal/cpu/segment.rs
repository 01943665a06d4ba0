//! Segment selectors and bases of the guest, which stay loaded while the hypervisor runs.
// UNSAFETY: loads segment registers.

use core::arch::{asm, global_asm};

use xen_core::machine::{SegmentBase, SelectorReg};

use super::msr;

global_asm!(include_str!("segment.S"), options(att_syntax));

unsafe extern "C" {
    fn segment_load_ds(selector: u16) -> u64;
    fn segment_load_es(selector: u16) -> u64;
    fn segment_load_fs(selector: u16) -> u64;
    fn segment_load_gs(selector: u16) -> u64;
}

/// Reads a selector.
pub fn selector(reg: SelectorReg) -> u16 {
    let value: u16;
    // SAFETY: reads a register.
    unsafe {
        match reg {
            SelectorReg::Ds => {
                asm!("mov %ds, {:x}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
            }
            SelectorReg::Es => {
                asm!("mov %es, {:x}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
            }
            SelectorReg::Fs => {
                asm!("mov %fs, {:x}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
            }
            SelectorReg::Gs => {
                asm!("mov %gs, {:x}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
            }
        }
    }
    value
}

/// Loads a selector; on a fault loads null and returns false.
pub fn load_selector(reg: SelectorReg, selector: u16) -> bool {
    // SAFETY: the hypervisor uses none of these registers; faults are recovered through the exception table. Ring 0
    // may load what a guest may: the descriptors in its tables have ring 1 or higher (checked when they are written),
    // and ours of ring 0 are harmless as data segments, since IRET to ring 3 clears what is more privileged.
    unsafe {
        match reg {
            SelectorReg::Ds => segment_load_ds(selector) == 0,
            SelectorReg::Es => segment_load_es(selector) == 0,
            SelectorReg::Fs => segment_load_fs(selector) == 0,
            SelectorReg::Gs => segment_load_gs(selector) == 0,
        }
    }
}

/// Loads GS while the base that SWAPGS exchanges is in its place: selector and base become the inactive ones'.
pub fn load_inactive_gs(selector: u16) -> bool {
    swap_gs();
    let loaded = load_selector(SelectorReg::Gs, selector);
    swap_gs();
    loaded
}

/// Exchanges the two GS bases.
pub fn swap_gs() {
    // SAFETY: the hypervisor does not use GS.
    unsafe {
        asm!(
            "swapgs",
            options(att_syntax, nomem, nostack, preserves_flags)
        )
    };
}

fn base_register(which: SegmentBase) -> u32 {
    match which {
        SegmentBase::Fs => msr::FS_BASE,
        SegmentBase::Gs => msr::GS_BASE,
        SegmentBase::InactiveGs => msr::KERNEL_GS_BASE,
    }
}

/// Reads a base.
pub fn base(which: SegmentBase) -> u64 {
    // SAFETY: architectural registers of long mode.
    unsafe { msr::read(base_register(which)) }
}

/// Writes a base, which must be canonical.
pub fn set_base(which: SegmentBase, value: u64) {
    // SAFETY: the hypervisor uses neither FS nor GS. A value that is not canonical would raise #GP here: the caller
    // checked it (XSA-193).
    unsafe { msr::write(base_register(which), value) };
}
