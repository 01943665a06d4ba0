//! Debug registers (SDM 3B 18.2).
// UNSAFETY: writes debug registers.

use core::arch::asm;

use xen_core::machine::DebugRegs;

/// General detect: would make the hypervisor's own use of the registers trap.
const DR7_GD: u64 = 1 << 13;

/// Loads all debug registers. The values were checked: no breakpoint lies in the hypervisor.
pub fn load(regs: &DebugRegs) {
    let [a, b, c, d] = regs.addr;
    // SAFETY: breakpoints on guest addresses only (checked by the caller); a #DB in ring 0 is harmless all the same.
    unsafe {
        asm!(
            "mov {zero}, %dr7",
            "mov {a}, %dr0",
            "mov {b}, %dr1",
            "mov {c}, %dr2",
            "mov {d}, %dr3",
            "mov {dr6}, %dr6",
            "mov {dr7}, %dr7",
            zero = in(reg) 0u64,
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            dr6 = in(reg) regs.dr6,
            dr7 = in(reg) regs.dr7 & !DR7_GD,
            options(att_syntax, nostack, preserves_flags),
        );
    }
}

/// Loads DR0 to DR3, none of which DR7 enables now.
pub fn load_addresses(addresses: &[u64; 4]) {
    let [a, b, c, d] = *addresses;
    // SAFETY: no breakpoint is enabled until the guest runs.
    unsafe {
        asm!(
            "mov {a}, %dr0",
            "mov {b}, %dr1",
            "mov {c}, %dr2",
            "mov {d}, %dr3",
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            options(att_syntax, nostack, preserves_flags),
        );
    }
}

/// Reads DR6.
pub fn dr6() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov %dr6, {}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
    };
    value
}
