//! System-call entries of a CPU: STAR, LSTAR, CSTAR, SFMASK and the SYSENTER registers (SDM 3A 5.8).
//!
//! SYSCALL does not change the stack pointer, and both GS bases belong to guests. So each CPU has a page of code of its
//! own that knows the CPU's stack: it parks RAX in its slot of the register frame, keeps the guest's stack pointer in
//! RAX, loads the stack pointer and goes on in the common code. The page is written through the direct map.
// UNSAFETY: writes code and registers.

use core::mem::offset_of;

use hypercall_abi::arch_x86::CpuUserRegs;
use x86_64::registers::rflags::RFlags;

use super::percpu::PerCpu;
use super::{cpuid, gdt, msr};
use crate::metal::entry;
use crate::metal::mem::layout::{DIRECT_MAP_BASE, STUBS_BASE};
use crate::metal::mem::paging::{PAGE_SIZE, Rights, with_tables};
use crate::metal::mem::stacks::{self, CpuTop, Stack};

/// SYSCALL clears everything that could disturb the hypervisor: interrupts, single-stepping, direction, alignment
/// checks, nested task, I/O privilege, resume.
const FLAGS_CLEARED: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::ALIGNMENT_CHECK)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::IOPL_HIGH)
    .union(RFlags::IOPL_LOW)
    .union(RFlags::RESUME_FLAG);

/// SYSRET loads CS from this plus 16 and SS from this plus 8, both with privilege 3: 0xe033 and 0xe02b.
const SYSRET_BASE: u64 = 0xe023;
/// Length of the code of one entry; both fit a page many times.
const STUB_SPACING: u64 = 64;

/// `movabs %rax, [to]; mov %rsp, %rax; movabs $stack, %rsp; jmp target`, located at `at`.
fn stub(at: u64, park_rax: u64, stack: u64, target: u64) -> [u8; 28] {
    let mut code = [0; 28];
    code[..2].copy_from_slice(&[0x48, 0xa3]);
    code[2..10].copy_from_slice(&park_rax.to_le_bytes());
    code[10..13].copy_from_slice(&[0x48, 0x89, 0xe0]);
    code[13..15].copy_from_slice(&[0x48, 0xbc]);
    code[15..23].copy_from_slice(&stack.to_le_bytes());
    code[23] = 0xe9;
    let distance = target.wrapping_sub(at + code.len() as u64) as i64;
    let Ok(distance) = i32::try_from(distance) else {
        panic!("system-call stubs are too far from the text")
    };
    code[24..].copy_from_slice(&distance.to_le_bytes());
    code
}

/// Builds the page of stubs of `cpu` and points the executing CPU's registers at the entries.
///
/// # Safety
/// `cpu` must be the executing CPU, its stacks must exist, its GDT must be loaded.
pub unsafe fn set_up(cpu: &PerCpu) {
    let regs = stacks::top(cpu.number, Stack::Main) + offset_of!(CpuTop, regs) as u64;
    let frame_end = regs + offset_of!(CpuUserRegs, ss) as u64 + 8;
    let park_rax = regs + offset_of!(CpuUserRegs, rax) as u64;
    let page = STUBS_BASE + u64::from(cpu.number) * PAGE_SIZE;
    let frame = with_tables(|tables| tables.allocate());
    for (index, target) in [entry::syscall64_address(), entry::syscall32_address()]
        .into_iter()
        .enumerate()
    {
        let offset = index as u64 * STUB_SPACING;
        let code = stub(page + offset, park_rax, frame_end, target);
        let place = (DIRECT_MAP_BASE + frame + offset) as *mut u8;
        // SAFETY: a fresh frame that the direct map covers; not yet mapped as code.
        unsafe { place.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
    }
    with_tables(|tables| tables.map(page, frame, PAGE_SIZE, Rights::Text));

    let star = SYSRET_BASE << 48 | u64::from(gdt::HYPERVISOR_CS) << 32;
    // SAFETY: architectural registers of long mode; the entries set up a stack of this CPU before they use one.
    unsafe {
        msr::write(msr::STAR, star);
        msr::write(msr::LSTAR, page);
        msr::write(msr::CSTAR, page + STUB_SPACING);
        msr::write(msr::SFMASK, FLAGS_CLEARED.bits());
        if cpuid::has_sysenter() {
            msr::write(msr::SYSENTER_CS, u64::from(gdt::HYPERVISOR_CS));
            msr::write(msr::SYSENTER_ESP, frame_end);
            msr::write(msr::SYSENTER_EIP, entry::sysenter_address());
        }
    }
}
