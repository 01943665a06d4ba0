//! One run of a guest.
// UNSAFETY: enters the guest.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::CpuUserRegs;
use xen_core::machine::{ExitReason, HvmEntry, HvmExit, HvmState};

use super::vmcb::{Vmcb, first, interrupt_control, second};
use super::{SHARED, Shared, SvmCpu, convert};
use crate::metal::cpu::debug;
use crate::metal::mem::stacks::this_cpu;

global_asm!(
    include_str!("svm.S"),
    r15 = const offset_of!(CpuUserRegs, r15),
    r14 = const offset_of!(CpuUserRegs, r14),
    r13 = const offset_of!(CpuUserRegs, r13),
    r12 = const offset_of!(CpuUserRegs, r12),
    rbp = const offset_of!(CpuUserRegs, rbp),
    rbx = const offset_of!(CpuUserRegs, rbx),
    r11 = const offset_of!(CpuUserRegs, r11),
    r10 = const offset_of!(CpuUserRegs, r10),
    r9 = const offset_of!(CpuUserRegs, r9),
    r8 = const offset_of!(CpuUserRegs, r8),
    rcx = const offset_of!(CpuUserRegs, rcx),
    rdx = const offset_of!(CpuUserRegs, rdx),
    rsi = const offset_of!(CpuUserRegs, rsi),
    rdi = const offset_of!(CpuUserRegs, rdi),
    options(att_syntax),
);

unsafe extern "C" {
    fn svm_enter(regs: *mut CpuUserRegs, block: u64, host: u64);
}

/// The one address-space number in use: whoever runs is told apart by flushing.
const ASID: u32 = 1;
/// TLB_CONTROL: drop everything.
const FLUSH_ALL: u32 = 1;
/// Exceptions that leave the guest: #DB and #AC, with which a guest could keep the processor for ever (XSA-156), and
/// machine checks.
const EXCEPTIONS: u32 = 1 << 1 | 1 << 17 | 1 << 18;
/// All control registers but CR2, CR3 and CR8, for reading in the lower and for writing in the upper half.
const CONTROL_REGISTERS: u32 = 0xfef3_fef3;
/// CR0.TS and CR0.MP only matter to the guest: CR0 selective writes are covered by the full intercept.
const FIRST: u32 = first::INTR
    | first::NMI
    | first::SMI
    | first::INIT
    | first::RDPMC
    | first::CPUID
    | first::INVD
    | first::HLT
    | first::INVLPGA
    | first::PORTS
    | first::MSRS
    | first::TASK_SWITCH
    | first::SHUTDOWN;
const SECOND: u32 = second::VMRUN
    | second::VMMCALL
    | second::VMLOAD
    | second::VMSAVE
    | second::STGI
    | second::CLGI
    | second::SKINIT
    | second::ICEBP
    | second::WBINVD
    | second::MONITOR
    | second::MWAIT
    | second::XSETBV;
/// DR7 enables no breakpoint.
const NO_BREAKPOINTS: u64 = 0xff;

fn prepare(cpu: &SvmCpu, shared: &Shared, block: &mut Vmcb, entry: &HvmEntry, state: &HvmState) {
    block.cr_intercepts = CONTROL_REGISTERS;
    block.dr_intercepts = u32::MAX;
    block.exception_intercepts = EXCEPTIONS;
    let mut words = [FIRST, SECOND];
    if entry.interrupt_window {
        words[0] |= first::VINTR;
    }
    if entry.nmi_window {
        words[0] |= first::IRET;
    }
    if entry.intercept_tsc {
        words[0] |= first::RDTSC;
        words[1] |= second::RDTSCP;
    }
    block.intercepts = [words[0], words[1], 0];
    block.iopm = shared.port_map;
    block.msrpm = shared.msr_map;
    block.asid = ASID;
    let other = cpu.last_tag.swap(entry.tag, Ordering::SeqCst) != entry.tag;
    let asked = cpu.flush.swap(false, Ordering::SeqCst);
    block.tlb_control = if other || asked { FLUSH_ALL } else { 0 };
    block.interrupt_control =
        interrupt_control::V_INTR_MASKING | u64::from(entry.task_priority & 0xf);
    if entry.interrupt_window {
        block.interrupt_control |= interrupt_control::V_IRQ | interrupt_control::V_IGN_TPR;
    }
    block.nested_control = 1;
    block.nested_root = entry.nested_root.addr();
    block.event = convert::to_event(entry.event);
    block.clean = 0;
    convert::load(block, state);
}

/// Runs a guest on the executing CPU until it exits.
pub fn run(entry: &HvmEntry, state: &mut HvmState, regs: &mut CpuUserRegs) -> HvmExit {
    let (Some(cpu), Some(shared)) = (this_cpu().svm.get(), SHARED.get()) else {
        return failed();
    };
    // SAFETY: the executing CPU's own block, and this function does not nest.
    let block = unsafe { cpu.block() };
    prepare(cpu, shared, block, entry, state);
    block.rax = regs.rax;
    block.rsp = regs.rsp;
    block.rip = regs.rip;
    block.rflags = regs.rflags;
    if state.dr7 & NO_BREAKPOINTS != 0 {
        debug::load_addresses(&state.debug_addresses);
    }
    // SAFETY: the block was filled just now: the guest runs in the memory of its nested tables alone, all that concerns
    // the machine is intercepted, and svm_enter brings our own state back.
    unsafe { svm_enter(regs, cpu.vmcb, cpu.host) };
    convert::save(block, state);
    regs.rax = block.rax;
    regs.rsp = block.rsp;
    regs.rip = block.rip;
    regs.rflags = block.rflags;
    let length = (shared.next_rip && block.next_rip > block.rip)
        .then(|| u8::try_from(block.next_rip - block.rip).ok())
        .flatten()
        .or_else(|| port_length(block));
    HvmExit {
        reason: convert::reason(block),
        length,
        unfinished: convert::from_event(block.exit_int_info),
        task_priority: (block.interrupt_control & 0xf) as u8,
    }
}

/// Exits for ports tell the next RIP in EXITINFO2 on every processor.
fn port_length(block: &Vmcb) -> Option<u8> {
    (block.exit_code == 0x7b)
        .then(|| u8::try_from(block.exit_info2.wrapping_sub(block.rip)).ok())
        .flatten()
}

/// A CPU without AMD-V among others that have it.
fn failed() -> HvmExit {
    HvmExit {
        reason: ExitReason::Invalid,
        length: None,
        unfinished: None,
        task_priority: 0,
    }
}
