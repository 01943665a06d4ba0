//! The `start_info` page of a guest.
//!
//! Contract: `struct start_info` of public/xen.h, `console.domU`.

use hypercall_abi::xen::{
    MAX_GUEST_CMDLINE, SifFlags, StartInfo, StartInfoConsole, StartInfoConsoleDomU,
};
use xen_core::dom0::plan::Plan;
use zerocopy::FromZeros as _;

use super::BuildError;
use crate::xen::PAGE;

/// A ring of the guest: its frame and its event channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// The machine frame.
    pub mfn: u64,
    /// The guest's port.
    pub port: u32,
}

/// What the page says beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct StartInfoInput<'a> {
    /// Machine frame of the shared page.
    pub shared_info: u64,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The store's ring.
    pub store: Ring,
    /// The console's ring.
    pub console: Ring,
}

/// Fills `start_info`.
///
/// # Errors
/// The command line is too long.
pub fn start_info(plan: &Plan, input: &StartInfoInput<'_>) -> Result<StartInfo, BuildError> {
    let mut out = StartInfo::new_zeroed();
    for (to, from) in out.magic.iter_mut().zip(b"xen-3.0-x86_64") {
        *to = *from;
    }
    // At least one NUL ends the line.
    if input.cmdline.len() >= MAX_GUEST_CMDLINE {
        return Err(BuildError::CommandLine(input.cmdline.len()));
    }
    for (to, from) in out.cmd_line.iter_mut().zip(input.cmdline.bytes()) {
        *to = from;
    }
    out.nr_pages = plan.nr_pages;
    out.shared_info = input.shared_info * PAGE;
    let mut flags = SifFlags::VIRT_P2M_4TOOLS;
    if let Some(initrd) = &plan.initrd {
        // Whole pages, as libxenguest says it.
        out.mod_len = initrd.pages * PAGE;
        out.mod_start = initrd.va.unwrap_or(initrd.pfn.get());
        flags.set(SifFlags::MOD_START_PFN, initrd.va.is_none());
    }
    out.flags = flags.bits();
    out.store_mfn = input.store.mfn;
    out.store_evtchn = input.store.port;
    out.console = StartInfoConsole::from_domU(StartInfoConsoleDomU {
        mfn: input.console.mfn,
        evtchn: input.console.port,
        _pad: [0; 4],
    });
    out.pt_base = plan.pt_base;
    out.nr_pt_frames = plan.nr_pt_frames;
    out.mfn_list = plan.p2m.va;
    if !plan.p2m.in_mapping {
        (out.first_p2m_pfn, out.nr_p2m_frames) = plan.p2m_run();
    }
    Ok(out)
}
