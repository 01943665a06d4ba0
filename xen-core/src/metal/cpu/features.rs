//! Processor features that protect the hypervisor, switched on per CPU.
// UNSAFETY: writes CR4 and model-specific registers.

use core::sync::atomic::Ordering;

use x86_64::registers::control::{Cr4, Cr4Flags};
use xen_core::boot::options::Options;

use super::control::CR4_BASE;
use super::percpu::PerCpu;
use super::{cpuid, msr};

/// The CR4 that the executing CPU should have, by its features and the options.
fn host_cr4(options: &Options) -> Cr4Flags {
    let mut cr4 = CR4_BASE;
    if options.smep && cpuid::has_smep() {
        cr4 |= Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION;
    }
    if use_smap(options) {
        cr4 |= Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION;
    }
    if options.xsave && cpuid::has_xsave() {
        cr4 |= Cr4Flags::OSXSAVE;
    }
    cr4
}

/// True if SMAP is to be used. Under QEMU's emulation it must not be: with CR4.SMAP set, IRETQ and LRETQ of ring 3 read
/// the stack with supervisor rights there and fault on user pages.
pub fn use_smap(options: &Options) -> bool {
    options.smap && cpuid::has_smap() && !cpuid::is_tcg()
}

/// Sets the executing CPU's control registers and page attribute table.
///
/// # Safety
/// `cpu` must be the executing CPU.
pub unsafe fn set_up(cpu: &PerCpu, options: &Options) {
    let cr4 = host_cr4(options);
    cpu.host_cr4.store(cr4.bits(), Ordering::Relaxed);
    // SAFETY: features that the CPU has; the hypervisor runs under each of them. The PAT's first four entries keep
    // their meaning at reset, on which our own page tables rely.
    unsafe {
        Cr4::write(cr4);
        msr::write(msr::PAT, msr::PAT_VALUE);
        if cpuid::has_tsc_aux() {
            msr::write(msr::TSC_AUX, 0);
        }
    }
    if cpu.number == 0 {
        log_choice(options);
    }
}

fn log_choice(options: &Options) {
    if options.smap && cpuid::has_smap() && cpuid::is_tcg() {
        log::info!("SMAP stays off: QEMU's emulated processor applies it to IRET of guests");
    }
    let cr4 = Cr4::read();
    let smep = cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION);
    let smap = cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION);
    log::info!(
        "Supervisor mode protection: SMEP {}, SMAP {}",
        on_off(smep),
        on_off(smap)
    );
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
