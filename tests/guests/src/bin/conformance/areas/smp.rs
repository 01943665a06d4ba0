//! A second vCPU, where the domain has one: `VCPUOP_initialise`, `up` and `down`, and what a switch between vCPUs keeps.

use core::sync::atomic::Ordering::Relaxed;

use pv_guest_shim::events::{bind_ipi, bind_virq, close};
use pv_guest_shim::hypercall_abi::arch_x86::VcpuGuestContext;
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::vcpu::{Runstate, VcpuRunstateInfo};
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo, Virq};
use pv_guest_shim::traps::{self, Registers};
use pv_guest_shim::{hypercall, mmu, sched, shared, time};
use zerocopy::FromZeros;

use crate::call::{BAD_POINTERS, HYPERVISOR, NON_CANONICAL, call, run as run_code};
use crate::report::{bits, error, holds, number, same};
use crate::{code, pages};

const DATA: u64 = 0x00cf_f300_0000_ffff;

/// The area. Nothing to check on a domain of one vCPU.
pub fn run(_: &'static StartInfo) {
    if vcpu_op(3, 1, 0) < 0 {
        return;
    }
    let counter = pages::take();
    before();
    refused(counter);
    life(counter);
    others();
    switches();
    wide_switches();
    failsafe();
    number("second vcpu goes down at last", vcpu_op(2, 1, 0), 0);
}

fn vcpu_op(op: u64, vcpu: u64, argument: u64) -> i64 {
    call(HypercallNr::VCPU_OP, [op, vcpu, argument])
}

/// The second vCPU counts in RBX, uses registers of all kinds, and lets the other run.
fn context(counter: u64) -> VcpuGuestContext {
    let mut context = VcpuGuestContext::new_zeroed();
    context.flags = 1 << 2;
    context.fpu_ctxt.x[0] = 0x7f;
    context.fpu_ctxt.x[1] = 3;
    context.fpu_ctxt.x[24] = 0x80;
    context.fpu_ctxt.x[25] = 0x1f;
    context.user_regs.rip = code!(
        "2:",
        "inc qword ptr [rbx]",
        "mov rax, rbx",
        "movq xmm0, rax",
        "movq xmm7, rax",
        "fninit",
        "fld1",
        "mov r8d, 0xe02b",
        "mov ds, r8d",
        "mov es, r8d",
        "mov fs, r8d",
        "mov gs, r8d",
        "mov eax, 29",
        "xor edi, edi",
        "syscall",
        "jmp 2b"
    );
    context.user_regs.rbx = counter;
    context.user_regs.rsp = pages::take() + 4096;
    context.user_regs.cs = 0xe033;
    context.user_regs.ss = 0xe02b;
    context.user_regs.rflags = 0x202;
    context.kernel_ss = 0xe02b;
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = mmu::boot_root() << 12;
    context.fs_base = counter;
    context.gs_base_kernel = counter;
    context.gs_base_user = counter;
    context
}

fn before() {
    let page = pages::take();
    number("is_up before initialise", vcpu_op(3, 1, 0), 0);
    error("up before initialise", vcpu_op(1, 1, 0), Errno::EINVAL);
    number("down before initialise", vcpu_op(2, 1, 0), 0);
    number("runstate before initialise", vcpu_op(4, 1, page), 0);
    same(
        "runstate before initialise: offline",
        pages::read::<VcpuRunstateInfo>(page).state,
        Runstate::OFFLINE,
    );
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("initialise at {kind} pointer"),
            vcpu_op(0, 1, pointer),
            Errno::EFAULT,
        );
    }
}

fn initialise(context: VcpuGuestContext) -> i64 {
    let page = pages::take();
    let next = pages::take();
    assert!(next == page + mmu::PAGE_SIZE);
    pages::write(page, context);
    vcpu_op(0, 1, page)
}

fn refused(counter: u64) {
    let good = context(counter);
    let with = |change: fn(&mut VcpuGuestContext)| {
        let mut context = good;
        change(&mut context);
        initialise(context)
    };
    error(
        "initialise without tables",
        with(|context| context.ctrlreg[3] = 0),
        Errno::EINVAL,
    );
    error(
        "initialise with tables that are none",
        with(|context| context.ctrlreg[3] = 1 << 50),
        Errno::EINVAL,
    );
    error(
        "initialise with a plain page as user tables",
        with(|context| context.ctrlreg[1] = mmu::virt_to_mfn(pages::take()) << 12 | 1),
        Errno::EINVAL,
    );
    error(
        "initialise with too many descriptors",
        with(|context| context.gdt_ents = 8193),
        Errno::EINVAL,
    );
    error(
        "initialise with no frame of descriptors",
        with(|context| {
            context.gdt_ents = 512;
            context.gdt_frames[0] = u64::MAX;
        }),
        Errno::EINVAL,
    );
    error(
        "initialise with an LDT that is not aligned",
        with(|context| {
            context.ldt_ents = 1;
            context.ldt_base = 8;
        }),
        Errno::EINVAL,
    );
    error(
        "initialise with an LDT in the hypervisor",
        with(|context| {
            context.ldt_ents = 1;
            context.ldt_base = HYPERVISOR;
        }),
        Errno::EINVAL,
    );
    error(
        "initialise with too long an LDT",
        with(|context| context.ldt_ents = 8193),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad FS base",
        with(|context| context.fs_base = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad kernel GS base",
        with(|context| context.gs_base_kernel = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad user GS base",
        with(|context| context.gs_base_user = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad event callback",
        with(|context| context.event_callback_eip = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad failsafe callback",
        with(|context| context.failsafe_callback_eip = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad syscall callback",
        with(|context| context.syscall_callback_eip = NON_CANONICAL),
        Errno::EINVAL,
    );
    error(
        "initialise with a bad handler",
        with(|context| context.trap_ctxt[77].address = NON_CANONICAL),
        Errno::EINVAL,
    );
    number("is_up behind refusals", vcpu_op(3, 1, 0), 0);
    error("up behind refusals", vcpu_op(1, 1, 0), Errno::EINVAL);
    number("initialise", initialise(good), 0);
    error("initialise twice", initialise(good), Errno::EEXIST);
}

/// Whether the counter moves while this vCPU waits for 20 ms.
fn counts(counter: u64) -> bool {
    let start = pages::read::<u64>(counter);
    sched::poll(&[], time::now() + 20_000_000);
    pages::read::<u64>(counter) != start
}

fn life(counter: u64) {
    number("is_up behind initialise", vcpu_op(3, 1, 0), 0);
    same("initialised vcpu does not run", counts(counter), false);
    number("up", vcpu_op(1, 1, 0), 0);
    number("is_up behind up", vcpu_op(3, 1, 0), 1);
    same("second vcpu runs", counts(counter), true);
    number("up twice", vcpu_op(1, 1, 0), 0);
    number("down", vcpu_op(2, 1, 0), 0);
    number("is_up behind down", vcpu_op(3, 1, 0), 0);
    sched::poll(&[], time::now() + 5_000_000);
    same("second vcpu does not run", counts(counter), false);
    number("down twice", vcpu_op(2, 1, 0), 0);
    error(
        "initialise behind down",
        initialise(context(counter)),
        Errno::EEXIST,
    );
    number("up again", vcpu_op(1, 1, 0), 0);
    same("second vcpu runs again", counts(counter), true);
}

fn others() {
    let page = pages::take();
    pages::write(page, 1_u64 << 62);
    pages::write(page + 8, 0_u64);
    error("timer of another vcpu", vcpu_op(8, 1, page), Errno::EINVAL);
    error(
        "stop the timer of another vcpu",
        vcpu_op(9, 1, 0),
        Errno::EINVAL,
    );
    number("stop the tick of another vcpu", vcpu_op(7, 1, 0), 0);
    number("runstate of another vcpu", vcpu_op(4, 1, page), 0);
    let state = pages::read::<VcpuRunstateInfo>(page).state;
    holds(
        "runstate of another vcpu: state",
        state,
        matches!(
            state,
            Runstate::RUNNING | Runstate::RUNNABLE | Runstate::BLOCKED
        ),
    );
    pages::write(page, mmu::virt_to_mfn(page));
    pages::write(page + 8, 2048_u64);
    error(
        "register_vcpu_info of a vcpu that is up",
        vcpu_op(10, 1, page),
        Errno::EINVAL,
    );
    let port = bind_ipi(1);
    same("ipi of another vcpu", port.is_ok(), true);
    same("close it", close(port.unwrap_or(0)), Ok(()));
    let port = bind_virq(Virq::TIMER, 1);
    same("timer virq of another vcpu", port.is_ok(), true);
    same(
        "timer virq of both",
        bind_virq(Virq::TIMER, 0).and_then(close),
        Ok(()),
    );
    same("close the timer virq", close(port.unwrap_or(0)), Ok(()));
    same(
        "global virq of another vcpu",
        bind_virq(Virq::CONSOLE, 1),
        Err(Errno::EINVAL),
    );
}

/// Registers of all kinds while the other vCPU runs.
fn switches() {
    let page = pages::take();
    pages::write(page, 0x5151_u64);
    call(HypercallNr::SET_SEGMENT_BASE, [0, page]);
    call(HypercallNr::SET_SEGMENT_BASE, [1, page + 8]);
    call(HypercallNr::SET_SEGMENT_BASE, [2, page]);
    hypercall::set_debugreg(0, page + 16);
    let code = code!(
        "mov rax, 0x1122334455667788",
        "movq xmm0, rax",
        "movq xmm7, rax",
        "movq xmm15, rax",
        "fninit",
        "fldpi",
        "mov ecx, 0xe02b",
        "mov ds, ecx",
        "mov r12d, 300",
        "2:",
        "mov eax, 29",
        "xor edi, edi",
        "syscall",
        "dec r12d",
        "jnz 2b",
        "movq r8, xmm0",
        "movq r9, xmm7",
        "movq r10, xmm15",
        "sub rsp, 16",
        "fstp qword ptr [rsp]",
        "pop r14",
        "pop r15",
        "mov r13d, ds",
        "xor ecx, ecx",
        "mov ds, ecx",
        "mov rbx, fs:[0]",
        "mov rbp, gs:[0]"
    );
    let mut registers = Registers::default();
    same(
        "code across switches",
        run_code(code, &mut registers).is_ok(),
        true,
    );
    same(
        "xmm registers across switches",
        [registers.r8, registers.r9, registers.r10],
        [0x1122_3344_5566_7788; 3],
    );
    bits(
        "x87 register across switches",
        registers.r14,
        core::f64::consts::PI.to_bits(),
    );
    bits("DS across switches", registers.r13, 0xe02b);
    bits("FS base across switches", registers.rbx, 0x5151);
    bits("GS base across switches", registers.rbp, 0x5151);
    bits(
        "dr0 across switches",
        hypercall::get_debugreg(0) as u64,
        page + 16,
    );
    hypercall::set_debugreg(0, 0);
    for which in [0, 1, 2] {
        call(HypercallNr::SET_SEGMENT_BASE, [which, 0]);
    }
}

/// The widest vector registers and a mask register while the other vCPU runs, where the processor has them.
fn wide_switches() {
    const PATTERN: u64 = 0x8877_6655_4433_2211;
    const X87_TO_ZMM: u64 = 0xe7;
    let plain = |code: u64, value: u64| {
        let mut registers = Registers {
            rax: value,
            ..Registers::default()
        };
        run_code(code, &mut registers).map(|()| registers.rax)
    };
    let xsetbv = |value: u64| plain(code!("xor ecx, ecx", "xor edx, edx", "xsetbv"), value);
    let Ok(cr4) = plain(code!("mov rax, cr4"), 0) else {
        return;
    };
    let _ = plain(code!("mov cr4, rax"), cr4 | 1 << 18);
    let before = plain(code!("xor ecx, ecx", "xgetbv"), 0);
    if let (Ok(before), Ok(_)) = (before, xsetbv(X87_TO_ZMM)) {
        let mut registers = Registers {
            rax: PATTERN,
            ..Registers::default()
        };
        let code = code!(
            "vpbroadcastq zmm31, rax",
            "vpbroadcastq zmm0, rax",
            "kmovq k1, rax",
            "mov r12d, 300",
            "2:",
            "mov eax, 29",
            "xor edi, edi",
            "syscall",
            "dec r12d",
            "jnz 2b",
            "vextracti64x4 ymm1, zmm31, 1",
            "vextracti128 xmm1, ymm1, 1",
            "vpextrq r8, xmm1, 1",
            "vextracti64x4 ymm2, zmm0, 1",
            "vextracti128 xmm2, ymm2, 1",
            "vpextrq r9, xmm2, 1",
            "kmovq r10, k1"
        );
        same(
            "wide code across switches",
            run_code(code, &mut registers).is_ok(),
            true,
        );
        same(
            "zmm and mask registers across switches",
            [registers.r8, registers.r9, registers.r10],
            [PATTERN; 3],
        );
        same("xcr0 as before", xsetbv(before & 0xffff_ffff).is_ok(), true);
    }
    let _ = plain(code!("mov cr4, rax"), cr4);
}

/// A selector whose descriptor goes cannot be loaded at the next switch.
fn failsafe() {
    let (list, table) = (pages::take(), pages::take());
    pages::write(list, mmu::virt_to_mfn(table));
    pages::write(table + 16, DATA);
    let leaf = mmu::leaf(table).unwrap_or_default().value;
    crate::call::update_va(table, leaf & !mmu::WRITABLE, 2);
    number("set_gdt", call(HypercallNr::SET_GDT, [list, 512]), 0);
    let code = code!(
        "mov ecx, 0x13",
        "mov ds, ecx",
        "mov es, ecx",
        "mov eax, 2",
        "xor edi, edi",
        "xor esi, esi",
        "syscall",
        "mov r12d, 1000",
        "2:",
        "mov eax, 29",
        "xor edi, edi",
        "syscall",
        "dec r12d",
        "jnz 2b"
    );
    shared::upcall_mask().store(1, Relaxed);
    let trap = run_code(code, &mut Registers::default())
        .err()
        .unwrap_or_default();
    bits("failsafe: vector", trap.frame.vector, traps::FAILSAFE);
    same(
        "failsafe: DS ES FS GS",
        trap.failsafe_selectors,
        [0x13, 0x13, 0, 0],
    );
    bits("failsafe: cs", trap.frame.cs, 0xe030 | 1 << 32);
    let mut registers = Registers::default();
    let _ = run_code(
        code!(
            "mov eax, ds",
            "mov ebx, es",
            "xor ecx, ecx",
            "mov ds, ecx",
            "mov es, ecx"
        ),
        &mut registers,
    );
    same(
        "failsafe: selectors are null",
        (registers.rax, registers.rbx),
        (0, 0),
    );
    crate::call::update_va(table, leaf, 2);
}
