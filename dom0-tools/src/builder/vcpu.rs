//! The first vCPU's registers.
//!
//! Contract: `vcpu_guest_context` of public/arch-x86/xen.h; values as libxenguest sets them for a 64-bit guest.

use hypercall_abi::arch_x86::xen_x86_64::pfn_to_cr3;
use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};
use xen_core::dom0::plan::Plan;
use zerocopy::FromZeros as _;

/// DR6 and DR7 after a reset.
const DR6: u64 = 0xffff_0ff0;
const DR7: u64 = 0x400;
/// Interrupts on, as everything a guest sees as RFLAGS has them.
const RFLAGS: u64 = 0x200;

/// What vCPU 0 starts with, with the level-4 table in the machine frame `l4`.
#[must_use]
pub fn context(plan: &Plan, l4: u64) -> VcpuGuestContext {
    let state = plan.entry_state();
    let mut context = VcpuGuestContext::new_zeroed();
    context.flags = (VgcfFlags::IN_KERNEL | VgcfFlags::ONLINE).bits();
    context.user_regs.rip = state.rip;
    context.user_regs.rsp = state.rsp;
    context.user_regs.rsi = state.rsi;
    context.user_regs.rflags = RFLAGS;
    context.user_regs.cs = state.cs;
    context.user_regs.ss = state.ss;
    context.kernel_ss = state.ss.into();
    context.kernel_sp = state.rsp;
    context.ctrlreg[3] = pfn_to_cr3(l4);
    context.debugreg[6] = DR6;
    context.debugreg[7] = DR7;
    context
}
