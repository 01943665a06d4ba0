//! Debug registers: the rules that hypercalls, `mov dr` and vCPU contexts share.
//!
//! Contract: abi-requirements 4.4; SDM volume 3, 17.2. No breakpoint lies in the hypervisor (XSA-260, XSA-265), DR7.GD
//! is never set, reserved bits have their fixed values (XSA-12).

use hypercall_abi::errno::Errno;

use crate::cpu_policy::cr4::DE;
use crate::cpu_policy::{CpuPolicy, Feature};
use crate::domain::VcpuCtx;
use crate::guest::is_guest_address;
use crate::machine::{DebugRegs, PvCpu};

/// DR6 after reset: the bits that always read one.
pub const DR6_DEFAULT: u64 = 0xffff_0ff0;
/// DR6 bit 12 always reads zero.
const DR6_ZEROES: u64 = 1 << 12;
/// DR7 after reset: bit 10 always reads one.
pub const DR7_DEFAULT: u64 = 1 << 10;
/// DR7 bits 11, 12, 14, 15 always read zero.
const DR7_ZEROES: u64 = 0xd800;
/// DR7.GD: trap accesses to debug registers.
const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// DR7: local and global enable bits of all four breakpoints.
const DR7_ACTIVE: u64 = 0xff;
/// Type of an I/O breakpoint.
const TYPE_IO: u64 = 2;
/// MSRs with the address masks of DR0 to DR3 (AMD).
const MASK_MSRS: [u32; 4] = [0xc001_1027, 0xc001_1019, 0xc001_101a, 0xc001_101b];

/// Index in `VcpuCtx::debug_regs` of the enable bits of I/O breakpoints, which hardware does not get: ports are
/// emulated, and so are breakpoints on them.
const IO_ENABLE: usize = 5;

/// DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE makes them undefined.
const fn resolve(register: u32, de: bool) -> Option<usize> {
    match register {
        0..=3 | 6 | 7 => Some(register as usize),
        4 | 5 if !de => Some(register as usize + 2),
        _ => None,
    }
}

/// Reads a virtual debug register.
///
/// # Errors
/// `ENODEV`: there is none with this number.
pub fn get(ctx: &VcpuCtx, register: u32) -> Result<u64, Errno> {
    let index = resolve(register, ctx.cr4 & DE != 0).ok_or(Errno::ENODEV)?;
    let value = ctx.debug_regs[index];
    Ok(if index == 7 {
        value | ctx.debug_regs[IO_ENABLE]
    } else {
        value
    })
}

/// Writes a virtual debug register. A vCPU that runs needs [`load`] afterwards.
///
/// # Errors
/// `ENODEV`: there is none with this number. `EPERM`: a breakpoint in the hypervisor, general detect, or an I/O
/// breakpoint without CR4.DE. `EINVAL`: upper half of DR6 or DR7.
pub fn set(ctx: &mut VcpuCtx, register: u32, value: u64) -> Result<(), Errno> {
    let de = ctx.cr4 & DE != 0;
    let index = resolve(register, de).ok_or(Errno::ENODEV)?;
    match index {
        6 => {
            if value >> 32 != 0 {
                return Err(Errno::EINVAL);
            }
            ctx.debug_regs[6] = (value & !DR6_ZEROES) | DR6_DEFAULT;
        }
        7 => {
            if value >> 32 != 0 {
                return Err(Errno::EINVAL);
            }
            let value = (value & !DR7_ZEROES) | DR7_DEFAULT;
            if value & DR7_GENERAL_DETECT != 0 {
                return Err(Errno::EPERM);
            }
            let mut io = 0;
            if value & DR7_ACTIVE != 0 {
                for breakpoint in 0..4 {
                    if kind(value, breakpoint) == TYPE_IO {
                        if !de {
                            return Err(Errno::EPERM);
                        }
                        io |= value & enable_bits(breakpoint);
                    }
                }
            }
            ctx.debug_regs[IO_ENABLE] = io;
            ctx.debug_regs[7] = value & !io;
        }
        _ => {
            // A breakpoint is up to eight bytes long and must not reach into the hypervisor either.
            if !is_guest_address(value) || !is_guest_address(value | 7) {
                return Err(Errno::EPERM);
            }
            ctx.debug_regs[index] = value;
        }
    }
    Ok(())
}

const fn kind(dr7: u64, breakpoint: u32) -> u64 {
    dr7 >> (16 + 4 * breakpoint) & 3
}

const fn enable_bits(breakpoint: u32) -> u64 {
    3 << (2 * breakpoint)
}

/// Bytes that breakpoint `breakpoint` covers.
const fn length(dr7: u64, breakpoint: u32) -> u64 {
    match dr7 >> (18 + 4 * breakpoint) & 3 {
        0 => 1,
        1 => 2,
        2 => 8,
        _ => 4,
    }
}

/// DR6 bits of the I/O breakpoints that an access to `bytes` ports from `port` on hits.
#[must_use]
pub fn io_breakpoints(ctx: &VcpuCtx, port: u16, bytes: u32) -> u64 {
    let io = ctx.debug_regs[IO_ENABLE];
    let dr7 = ctx.debug_regs[7];
    let (first, end) = (u64::from(port), u64::from(port) + u64::from(bytes));
    let mut hit = 0;
    for breakpoint in 0..4 {
        if io & enable_bits(breakpoint) == 0 {
            continue;
        }
        let start = ctx.debug_regs[breakpoint as usize];
        if start < end && first < start.saturating_add(length(dr7, breakpoint)) {
            hit |= 1 << breakpoint;
        }
    }
    hit
}

/// What hardware gets while this vCPU runs. Without an enabled breakpoint that is nothing of the guest's at all.
#[must_use]
pub const fn hardware_regs(ctx: &VcpuCtx) -> DebugRegs {
    let regs = &ctx.debug_regs;
    if regs[7] & DR7_ACTIVE == 0 {
        return DebugRegs {
            addr: [0; 4],
            dr6: DR6_DEFAULT,
            dr7: DR7_DEFAULT,
        };
    }
    DebugRegs {
        addr: [regs[0], regs[1], regs[2], regs[3]],
        dr6: regs[6],
        dr7: (regs[7] & !(DR7_GENERAL_DETECT | DR7_ZEROES)) | DR7_DEFAULT,
    }
}

/// Loads debug registers and, where the guest sees them, their address masks: always, so that those of the vCPU before
/// do not stay (XSA-444).
pub fn load(cpu: &impl PvCpu, policy: &CpuPolicy, ctx: &VcpuCtx) {
    cpu.load_debug_regs(&hardware_regs(ctx));
    load_masks(cpu, policy, ctx);
}

/// Loads the address masks alone.
pub fn load_masks(cpu: &impl PvCpu, policy: &CpuPolicy, ctx: &VcpuCtx) {
    if policy.has(Feature::DBEXT) {
        for (msr, mask) in MASK_MSRS.into_iter().zip(ctx.dr_masks) {
            // The processor has the feature, so it has the registers and takes any 32-bit value.
            let _ = cpu.write_msr(msr, mask.into());
        }
    }
}

/// The breakpoint whose address mask an MSR holds.
#[must_use]
pub fn mask_index(msr: u32) -> Option<usize> {
    MASK_MSRS.iter().position(|&mask| mask == msr)
}
