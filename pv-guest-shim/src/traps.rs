//! Traps: exceptions, software interrupts, events and system calls, as the hypervisor bounces them to the kernel.
//!
//! [`init`] registers an entry point for everything. A trap goes to the [`Handler`] of its vector; one without a handler that
//! happens inside an [`attempt`] ends the attempt, and any other is fatal. All of it is for one vCPU.
//!
//! Contract: public/arch-x86/xen-x86_64.h, public/callback.h, `set_trap_table`.
// UNSAFETY: assembly, and code that runs with registers of the caller's choice.
#![expect(unsafe_code, reason = "entry and exit of a kernel")]

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::transmute;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hypercall_abi::arch_x86::xen_x86_64::{FLAT_KERNEL_CS64, FLAT_KERNEL_SS64};
use hypercall_abi::arch_x86::{IretContext, TI_IF, TrapInfo};
use hypercall_abi::callback::{CallbackFlags, CallbackOp, CallbackRegister, CallbackType};
use hypercall_abi::xen::HypercallNr;

pub use crate::frame::Frame;
use crate::hypercall;

/// Vectors, and the pseudo vectors behind them.
pub const VECTORS: usize = 256 + 5;
/// Pseudo vector of the event upcall.
pub const EVENT: u64 = 256;
/// Pseudo vector of the failsafe callback.
pub const FAILSAFE: u64 = 257;
/// Pseudo vector of a 64-bit system call of user mode.
pub const SYSCALL: u64 = 258;
/// Pseudo vector of SYSENTER.
pub const SYSENTER: u64 = 259;
/// Pseudo vector of a 32-bit system call of user mode.
pub const SYSCALL32: u64 = 260;

/// Vectors for which the hypervisor pushes an error code: #DF #TS #NP #SS #GP #PF #AC #CP.
const ERROR_CODE_VECTORS: u32 = 0x0022_7d00;
/// Bytes from one stub to the next.
const STUB_SIZE: u64 = 32;
/// Bytes of the stack for traps from user mode.
const STACK_SIZE: usize = 32 << 10;

/// RFLAGS.IF.
const FLAGS_IF: u64 = 1 << 9;

global_asm!(
    include_str!("traps.S"),
    stub_size = const STUB_SIZE,
    error_code_vectors = const ERROR_CODE_VECTORS,
    event = const EVENT,
    failsafe = const FAILSAFE,
    syscall = const SYSCALL,
    sysenter = const SYSENTER,
    syscall32 = const SYSCALL32,
    iret = const HypercallNr::IRET.0,
    stack_size = const STACK_SIZE,
    options(att_syntax),
);

unsafe extern "C" {
    static pv_trap_stubs: u8;
    static pv_trap_stack_end: u8;
    static pv_event_callback: u8;
    static pv_failsafe_callback: u8;
    static pv_syscall_callback: u8;
    static pv_sysenter_callback: u8;
    static pv_syscall32_callback: u8;
    static pv_nmi_callback: u8;
    static pv_recover: u8;
    static pv_recovery_rsp: AtomicU64;
    static pv_failsafe_selectors: [AtomicU64; 4];
    fn pv_attempt_call(code: u64, registers: *mut Registers) -> u64;
    fn pv_attempt_iret(context: *const IretContext, registers: *mut Registers) -> u64;
}

/// Deals with a trap. The trap returns to the frame.
pub type Handler = fn(&mut Frame);

/// Registers for an [`attempt`]: what the code finds, and afterwards what it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Only afterwards.
    pub rflags: u64,
}

/// A trap that ended an [`attempt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trap {
    /// What the hypervisor pushed, and the registers.
    pub frame: Frame,
    /// RFLAGS in the handler.
    pub handler_flags: u64,
    /// `vcpu_info.arch.cr2` in the handler.
    pub cr2: u64,
    /// The event mask in the handler.
    pub handler_mask: u8,
    /// DS, ES, FS, GS of the last failsafe frame.
    pub failsafe_selectors: [u64; 4],
}

/// A place for one value that only the one vCPU, between traps, touches.
struct Single<T>(UnsafeCell<T>);

// SAFETY: the kernel has one vCPU, and a trap handler writes only what the attempt that it ends reads afterwards.
unsafe impl<T> Sync for Single<T> {}

static HANDLERS: [AtomicUsize; VECTORS] = [const { AtomicUsize::new(0) }; VECTORS];
static ANSWER: AtomicUsize = AtomicUsize::new(0);
static LAST: Single<Option<Trap>> = Single(UnsafeCell::new(None));

/// Sets or removes the handler of a vector or pseudo vector. False if there is no such vector.
pub fn set_handler(vector: u64, handler: Option<Handler>) -> bool {
    let address = handler.map_or(0, |handler| handler as usize);
    match HANDLERS.get(vector as usize) {
        Some(slot) => {
            slot.store(address, Ordering::Relaxed);
            true
        }
        None => false,
    }
}

/// Sets what is asked about a trap without a handler before it counts as one: true if it has dealt with the trap.
pub(crate) fn set_answer(answer: fn(&mut Frame) -> bool) {
    ANSWER.store(answer as usize, Ordering::Relaxed);
}

/// Entry point of a vector, for `set_trap_table`.
#[must_use]
pub fn entry_point(vector: u8) -> u64 {
    (&raw const pv_trap_stubs) as u64 + u64::from(vector) * STUB_SIZE
}

/// Entry point of a callback, for `callback_op`.
#[must_use]
pub fn callback_entry_point(kind: CallbackType) -> Option<u64> {
    Some(match kind {
        CallbackType::EVENT => (&raw const pv_event_callback) as u64,
        CallbackType::FAILSAFE => (&raw const pv_failsafe_callback) as u64,
        CallbackType::SYSCALL => (&raw const pv_syscall_callback) as u64,
        CallbackType::SYSENTER => (&raw const pv_sysenter_callback) as u64,
        CallbackType::SYSCALL32 => (&raw const pv_syscall32_callback) as u64,
        CallbackType::NMI => (&raw const pv_nmi_callback) as u64,
        _ => return None,
    })
}

/// End of the stack on which traps from user mode arrive.
#[must_use]
pub fn stack_end() -> u64 {
    (&raw const pv_trap_stack_end) as u64
}

/// The table of all vectors for `set_trap_table`, ended by a zero entry: `int3` and `into` for user mode, and of the rest
/// only `dpl3` too. Events stay as they are in exceptions, and are masked in the NMI handler.
#[must_use]
pub fn table(dpl3: &[u8]) -> [TrapInfo; 257] {
    let mut table = [TrapInfo {
        vector: 0,
        flags: 0,
        cs: FLAT_KERNEL_CS64,
        _pad: [0; 4],
        address: 0,
    }; 257];
    for (vector, entry) in (0..=u8::MAX).zip(&mut table) {
        entry.vector = vector;
        entry.address = entry_point(vector);
        if matches!(vector, 3 | 4) || dpl3.contains(&vector) {
            entry.flags = 3;
        }
        if vector == 2 {
            entry.flags = TI_IF;
        }
    }
    table
}

/// Registers a callback. 0, or a negative errno.
pub fn register_callback(kind: CallbackType, flags: u16, address: u64) -> i64 {
    let mut arg = CallbackRegister {
        r#type: kind,
        flags,
        _pad: [0; 4],
        address,
    };
    hypercall::command(
        HypercallNr::CALLBACK_OP,
        CallbackOp::REGISTER.0.into(),
        &mut arg,
    )
}

/// Registers entry points for all vectors and callbacks, and the stack for traps from user mode.
pub fn init() {
    let mut table = table(&[]);
    hypercall::set_trap_table(&mut table);
    for kind in [
        CallbackType::EVENT,
        CallbackType::FAILSAFE,
        CallbackType::SYSCALL,
        CallbackType::SYSENTER,
        CallbackType::SYSCALL32,
    ] {
        if let Some(address) = callback_entry_point(kind) {
            register_callback(kind, CallbackFlags::MASK_EVENTS.bits(), address);
        }
    }
    hypercall::stack_switch(FLAT_KERNEL_SS64.into(), stack_end());
}

/// Calls machine code with registers of the caller's choice. The trap, if one ended it early.
///
/// # Safety
/// `code` must be code that keeps to memory that nobody else uses and that, unless it traps, returns with RSP as it was.
#[allow(
    clippy::result_large_err,
    reason = "there is no heap to keep a trap in"
)]
pub unsafe fn attempt(code: u64, registers: &mut Registers) -> Result<(), Trap> {
    // SAFETY: as the caller says; the assembly keeps the callee-saved registers.
    let trapped = unsafe { pv_attempt_call(code, registers) };
    if trapped == 0 {
        return Ok(());
    }
    Err(take_last())
}

/// Goes by HYPERVISOR_iret to a context of the caller's choice; it ends with the trap that is returned.
///
/// # Safety
/// As for [`attempt`], and the code must end in a trap.
pub unsafe fn attempt_iret(context: &IretContext, registers: &mut Registers) -> Trap {
    // SAFETY: as the caller says.
    unsafe { pv_attempt_iret(context, registers) };
    take_last()
}

fn take_last() -> Trap {
    // SAFETY: no trap is under way: this one has ended the attempt.
    unsafe { (*LAST.0.get()).take() }.unwrap_or_default()
}

/// Called by the stubs.
#[unsafe(no_mangle)]
extern "C" fn pv_trap_dispatch(frame: &mut Frame, handler_flags: u64) {
    let slot = HANDLERS.get(frame.vector as usize);
    let handler = slot.map_or(0, |slot| slot.load(Ordering::Relaxed));
    if handler != 0 {
        // SAFETY: only set_handler writes the table, and only with such functions.
        let handler: Handler = unsafe { transmute::<usize, Handler>(handler) };
        return handler(frame);
    }
    let answer = ANSWER.load(Ordering::Relaxed);
    if answer != 0 {
        // SAFETY: only set_answer writes the word, and only with such functions.
        let answer = unsafe { transmute::<usize, fn(&mut Frame) -> bool>(answer) };
        if answer(frame) {
            return;
        }
    }
    // SAFETY: written by the assembly of attempts, 0 outside of any.
    let recovery = unsafe { pv_recovery_rsp.load(Ordering::Relaxed) };
    let (handler_mask, cr2) = crate::shared::upcall_mask_and_cr2();
    let trap = Trap {
        frame: *frame,
        handler_flags,
        cr2,
        handler_mask,
        // SAFETY: written by the failsafe stub, which is not running.
        failsafe_selectors: unsafe { &pv_failsafe_selectors }
            .each_ref()
            .map(|selector| selector.load(Ordering::Relaxed)),
    };
    assert!(recovery != 0, "unexpected trap: {trap:x?}");
    // SAFETY: the attempt that reads this is the one that is ended here.
    unsafe { *LAST.0.get() = Some(trap) };
    frame.rip = (&raw const pv_recover) as u64;
    frame.cs = u64::from(FLAT_KERNEL_CS64) & !3;
    // An event stays pending until the kernel clears it: unmasked, it would come again at once.
    frame.rflags &= if frame.vector == EVENT { 0 } else { FLAGS_IF };
    frame.rsp = recovery;
    frame.ss = FLAT_KERNEL_SS64.into();
}
