//! Hypercalls in their SYSCALL form: number in RAX, arguments in RDI, RSI, RDX, R10, R8, result in RAX.
// UNSAFETY: executes SYSCALL, with which the hypervisor may change anything that the arguments name.
#![expect(unsafe_code, reason = "hypercalls are instructions")]

use core::arch::asm;

use hypercall_abi::errno::Errno;
use hypercall_abi::vcpu::VcpuOp;
use hypercall_abi::xen::HypercallNr;

/// Calls the hypervisor. The result is a value, or a negative errno (`hypercall_abi::errno`).
///
/// # Safety
/// Whatever the hypercall does to memory or registers must be sound: pointers in `args` must be valid for what the call
/// reads and writes, and page-table changes must not pull memory from under Rust.
pub unsafe fn raw(nr: HypercallNr, args: [u64; 5]) -> i64 {
    let result: i64;
    // SAFETY: SYSCALL clobbers RCX and R11; the caller vouches for everything else.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr.0 as i64 => result,
            inlateout("rdi") args[0] => _,
            inlateout("rsi") args[1] => _,
            inlateout("rdx") args[2] => _,
            inlateout("r10") args[3] => _,
            inlateout("r8") args[4] => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A hypercall whose arguments are numbers, and which touches no memory of ours.
macro_rules! number_only {
    ($(#[$doc:meta])* $name:ident, $nr:ident, ($($arg:ident),*)) => {
        $(#[$doc])*
        pub fn $name($($arg: u64),*) -> i64 {
            let mut args = [0; 5];
            let given = [$($arg),*];
            args[..given.len()].copy_from_slice(&given);
            // SAFETY: neither reads nor writes memory of the guest.
            unsafe { raw(HypercallNr::$nr, args) }
        }
    };
}

number_only! {
    /// `xen_version` commands without an argument (version, pagesize).
    xen_version, XEN_VERSION, (command)
}
number_only! {
    /// `vm_assist`.
    vm_assist, VM_ASSIST, (command, kind)
}
number_only! {
    /// `set_timer_op`: absolute system time in ns, 0 disarms.
    set_timer_op, SET_TIMER_OP, (deadline_ns)
}

number_only! {
    /// `stack_switch`: the stack segment and pointer for traps from user mode.
    stack_switch, STACK_SWITCH, (ss, rsp)
}
number_only! {
    /// `fpu_taskswitch`: sets or clears CR0.TS.
    fpu_taskswitch, FPU_TASKSWITCH, (set)
}
number_only! {
    /// `set_debugreg`.
    set_debugreg, SET_DEBUGREG, (register, value)
}
number_only! {
    /// `get_debugreg`: the value, or a negative errno.
    get_debugreg, GET_DEBUGREG, (register)
}

/// `set_trap_table`: a table that ends with a zero address.
pub fn set_trap_table(table: &mut [hypercall_abi::arch_x86::TrapInfo]) -> i64 {
    // SAFETY: the hypervisor reads the table; the caller chose its entry points.
    unsafe {
        raw(
            HypercallNr::SET_TRAP_TABLE,
            [table.as_mut_ptr() as u64, 0, 0, 0, 0],
        )
    }
}

/// Writes bytes to the hypervisor's console. 0, or a negative errno.
pub fn console_write(bytes: &[u8]) -> i64 {
    // SAFETY: the hypervisor reads `bytes`, whose pointer and length are valid.
    unsafe {
        raw(
            HypercallNr::CONSOLE_IO,
            [0, bytes.len() as u64, bytes.as_ptr() as u64, 0, 0],
        )
    }
}

/// A hypercall of the form `(command, pointer to a structure)`: the structure is read, and outputs are written back.
pub fn command<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    nr: HypercallNr,
    command: u64,
    arg: &mut T,
) -> i64 {
    let arg: *mut T = arg;
    // SAFETY: the structure is ours to read and write, and any bytes are valid for it.
    unsafe { raw(nr, [command, arg as u64, 0, 0, 0]) }
}

/// `vcpu_op` with a structure. The result, or a negative errno.
pub fn vcpu_op<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    op: VcpuOp,
    vcpu: u32,
    arg: &mut T,
) -> i64 {
    let arg: *mut T = arg;
    // SAFETY: the structure is ours to read and write, and any bytes are valid for it.
    unsafe {
        raw(
            HypercallNr::VCPU_OP,
            [op.0.into(), vcpu.into(), arg as u64, 0, 0],
        )
    }
}

/// A hypercall's result as a value or an error.
pub fn checked(result: i64) -> Result<u64, Errno> {
    match u64::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => {
            let number = i32::try_from(result.wrapping_neg()).ok();
            Err(number.and_then(Errno::from_raw).unwrap_or(Errno::EINVAL))
        }
    }
}
