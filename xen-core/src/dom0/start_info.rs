//! The `start_info` page.
//!
//! Contract: `struct start_info` of public/xen.h, followed in the same page by
//! `struct dom0_vga_console_info` if there is a console to describe.

use hypercall_abi::xen::{
    Dom0VgaConsoleInfo, MAX_GUEST_CMDLINE, SifFlags, StartInfo, StartInfoConsole,
    StartInfoConsoleDom0,
};
use zerocopy::{FromZeros, IntoBytes};

use super::KernelError;
use super::notes::PaeMode;
use super::plan::Plan;

/// What the page says beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo<'a> {
    /// Machine address of the shared info page.
    pub shared_info: u64,
    /// The kernel's command line, without NUL.
    pub cmdline: &'a [u8],
    /// The console dom0 finds.
    pub console: Option<&'a Dom0VgaConsoleInfo>,
    /// What dom0 may do about power management (`xen_processor_pmbits`).
    pub pm_bits: u8,
}

/// Fills `start_info`. The store's ring stays 0: dom0 runs the store itself.
///
/// # Errors
/// The command line is too long.
pub fn start_info(plan: &Plan, info: &BootInfo<'_>) -> Result<StartInfo, KernelError> {
    let mut out = StartInfo::new_zeroed();
    let magic: &[u8] = match plan.pae {
        PaeMode::No => b"xen-3.0-x86_64",
        PaeMode::Yes | PaeMode::ExtendedCr3 | PaeMode::Bimodal => b"xen-3.0-x86_64p",
    };
    for (to, from) in out.magic.iter_mut().zip(magic) {
        *to = *from;
    }
    // At least one NUL ends the line.
    if info.cmdline.len() >= MAX_GUEST_CMDLINE {
        return Err(KernelError::CommandLineTooLong(info.cmdline.len()));
    }
    for (to, from) in out.cmd_line.iter_mut().zip(info.cmdline) {
        *to = *from;
    }

    out.nr_pages = plan.nr_pages;
    out.shared_info = info.shared_info;
    let pm_bits = u32::from(info.pm_bits) << SifFlags::PM_MASK.bits().trailing_zeros();
    let mut flags =
        SifFlags::PRIVILEGED | SifFlags::INITDOMAIN | SifFlags::from_bits_retain(pm_bits);
    if let Some(initrd) = &plan.initrd {
        out.mod_len = initrd.len;
        out.mod_start = match initrd.va {
            Some(va) => va,
            None => {
                flags |= SifFlags::MOD_START_PFN;
                initrd.pfn.get()
            }
        };
    }
    out.flags = flags.bits();
    if info.console.is_some() {
        out.console = StartInfoConsole::from_dom0(StartInfoConsoleDom0 {
            info_off: size_of::<StartInfo>() as u32,
            info_size: size_of::<Dom0VgaConsoleInfo>() as u32,
        });
    }
    out.pt_base = plan.pt_base;
    out.nr_pt_frames = plan.nr_pt_frames;
    out.mfn_list = plan.p2m.va;
    (out.first_p2m_pfn, out.nr_p2m_frames) = plan.p2m_run();
    Ok(out)
}

/// Writes the whole page: [`start_info`], the console description behind it, zeros.
///
/// # Errors
/// The command line is too long.
pub fn encode(plan: &Plan, info: &BootInfo<'_>, page: &mut [u8; 4096]) -> Result<(), KernelError> {
    let fields = start_info(plan, info)?;
    let console = info.console.map(IntoBytes::as_bytes).unwrap_or_default();
    let bytes = fields
        .as_bytes()
        .iter()
        .chain(console)
        .chain(core::iter::repeat(&0));
    for (to, from) in page.iter_mut().zip(bytes) {
        *to = *from;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
