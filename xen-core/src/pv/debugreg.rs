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

/// Writes a virtual debug register. For a vCPU that runs, [`hardware_regs`] has to be loaded
/// afterwards.
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

/// Loads the address masks of debug registers if there are any by `policy`: at a switch the host's, so that those of
/// the vCPU before do not stay with one that is not shown them (XSA-444).
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ctx(cr4: u64) -> VcpuCtx {
        let mut ctx = VcpuCtx::new(512);
        ctx.cr4 = cr4;
        ctx
    }

    #[test]
    fn addresses_may_not_point_into_the_hypervisor() {
        let mut ctx = ctx(0);
        for good in [0, 0x7fff_ffff_fff8, 0xffff_8800_0000_0000, u64::MAX] {
            assert_eq!(set(&mut ctx, 3, good), Ok(()));
            assert_eq!(get(&ctx, 3), Ok(good));
        }
        for bad in [
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_87ff_ffff_ffff,
        ] {
            assert_eq!(set(&mut ctx, 3, bad), Err(Errno::EPERM), "{bad:#x}");
        }
        assert_eq!(get(&ctx, 3), Ok(u64::MAX));
    }

    #[test]
    fn four_and_five_are_other_names_until_de() {
        let mut plain = ctx(0);
        assert_eq!(set(&mut plain, 5, 1), Ok(()));
        assert_eq!((get(&plain, 7), get(&plain, 5)), (Ok(0x401), Ok(0x401)));
        assert_eq!(get(&plain, 4), get(&plain, 6));
        let mut de = ctx(DE);
        for register in [4, 5, 8, u32::MAX] {
            assert_eq!(set(&mut de, register, 0), Err(Errno::ENODEV));
            assert_eq!(get(&de, register), Err(Errno::ENODEV));
        }
    }

    #[test]
    fn fixed_bits_read_as_fixed() {
        let mut ctx = ctx(0);
        assert_eq!(set(&mut ctx, 6, 0), Ok(()));
        assert_eq!(get(&ctx, 6), Ok(0xffff_0ff0));
        assert_eq!(set(&mut ctx, 6, 0xffff_ffff), Ok(()));
        assert_eq!(get(&ctx, 6), Ok(0xffff_efff));
        assert_eq!(set(&mut ctx, 7, 0xd801), Ok(()));
        assert_eq!(get(&ctx, 7), Ok(0x401));
        for register in [6, 7] {
            assert_eq!(set(&mut ctx, register, 1 << 32), Err(Errno::EINVAL));
        }
        assert_eq!(set(&mut ctx, 7, DR7_GENERAL_DETECT), Err(Errno::EPERM));
    }

    #[test]
    fn io_breakpoints_need_de_and_stay_out_of_hardware() {
        // Breakpoint 2: I/O, four bytes; breakpoint 0: execution.
        let dr7 = 0x21 | 2 << 24 | 3 << 26;
        let mut ctx = ctx(0);
        assert_eq!(set(&mut ctx, 7, dr7), Err(Errno::EPERM));
        ctx.cr4 = DE;
        assert_eq!(set(&mut ctx, 2, 0x100), Ok(()));
        assert_eq!(set(&mut ctx, 7, dr7), Ok(()));
        assert_eq!(get(&ctx, 7), Ok(dr7 | 0x400));
        assert_eq!(hardware_regs(&ctx).dr7 & DR7_ACTIVE, 1);
        assert_eq!(io_breakpoints(&ctx, 0x103, 1), 4);
        assert_eq!(io_breakpoints(&ctx, 0xff, 2), 4);
        assert_eq!(io_breakpoints(&ctx, 0x104, 4), 0);
        assert_eq!(io_breakpoints(&ctx, 0xfc, 4), 0);
        // An enable bit that is off needs no CR4.DE.
        ctx.cr4 = 0;
        assert_eq!(set(&mut ctx, 7, 2 << 24), Ok(()));
        assert_eq!(io_breakpoints(&ctx, 0x103, 1), 0);
    }

    #[test]
    fn without_an_active_breakpoint_hardware_holds_nothing_of_the_guests() {
        let mut ctx = ctx(0);
        assert_eq!(set(&mut ctx, 0, 0x1234), Ok(()));
        assert_eq!(set(&mut ctx, 6, 0xf), Ok(()));
        assert_eq!(
            hardware_regs(&ctx),
            DebugRegs {
                addr: [0; 4],
                dr6: DR6_DEFAULT,
                dr7: DR7_DEFAULT
            }
        );
        assert_eq!(set(&mut ctx, 7, 1), Ok(()));
        assert_eq!(hardware_regs(&ctx).addr[0], 0x1234);
    }
}
