//! Floating-point and vector state of a vCPU.
//!
//! Switching is eager and always moves every component that the host enables, whatever XCR0 the guest chose: nothing
//! of one vCPU is left for the next (XSA-165, XSA-220, XSA-267). Rules: SDM volume 1, 13.

use hypercall_abi::errno::Errno;

use crate::cpu_policy::CpuPolicy;
use crate::domain::VcpuCtx;
use crate::machine::PvCpu;

/// Bytes of the FXSAVE image, first part of every XSAVE area.
pub const LEGACY_SIZE: usize = 512;
/// Bytes of the header after it.
const HEADER_SIZE: usize = 64;
/// Offset of MXCSR.
const MXCSR: usize = 24;
/// Offset of the mask of MXCSR bits that exist.
const MXCSR_MASK: usize = 28;
/// MXCSR bits that every x86-64 processor has.
const DEFAULT_MXCSR_MASK: u32 = 0xffbf;
/// Bytes 464-511: free for software.
const SOFTWARE_BYTES: core::ops::Range<usize> = 464..512;

/// XCR0: x87.
const X87: u64 = 1;
/// XCR0: SSE.
const SSE: u64 = 1 << 1;
/// XCR0: AVX.
const AVX: u64 = 1 << 2;
/// XCR0: MPX bound registers and configuration.
const MPX: u64 = 3 << 3;
/// XCR0: AVX-512.
const AVX512: u64 = 7 << 5;
/// XCR0: protection keys.
const PKRU: u64 = 1 << 9;

/// Whether the processor accepts `xcr0`, features aside: x87 always, AVX only with SSE, AVX-512 only whole and with
/// AVX, MPX only whole. Unknown components are refused.
#[must_use]
pub const fn is_valid_xcr0(xcr0: u64) -> bool {
    let known = X87 | SSE | AVX | MPX | AVX512 | PKRU;
    xcr0 & !known == 0
        && xcr0 & X87 != 0
        && (xcr0 & AVX == 0 || xcr0 & SSE != 0)
        && (xcr0 & MPX == 0 || xcr0 & MPX == MPX)
        && (xcr0 & AVX512 == 0 || xcr0 & (AVX512 | AVX) == AVX512 | AVX)
}

/// Sets the virtual CR0.TS; the real one follows, so that the guest gets its #NM.
pub fn set_task_switched(cpu: &impl PvCpu, ctx: &mut VcpuCtx, on: bool) {
    ctx.task_switched = on;
    cpu.set_task_switched(on);
}

/// Saves the state of the vCPU that leaves the processor.
pub fn save(cpu: &impl PvCpu, ctx: &mut VcpuCtx) {
    cpu.save_fpu(&mut ctx.fpu);
}

/// Loads the state of the vCPU that comes to the processor. An image that the processor refuses (it came from a
/// toolstack) is replaced by the reset state.
pub fn load(cpu: &impl PvCpu, ctx: &mut VcpuCtx) {
    if !cpu.restore_fpu(&ctx.fpu) {
        ctx.reset_fpu();
    }
    cpu.set_xcr0(ctx.xcr0);
    cpu.set_task_switched(ctx.task_switched);
}

/// Replaces x87 and SSE state by the FXSAVE image of a `vcpu_guest_context`; the other components are reset.
pub fn load_fxsave_image(ctx: &mut VcpuCtx, image: &[u8; LEGACY_SIZE]) {
    ctx.reset_fpu();
    let Some(legacy) = ctx.fpu.get_mut(..LEGACY_SIZE) else {
        return;
    };
    legacy.copy_from_slice(image);
    legacy[SOFTWARE_BYTES].fill(0);
    // A reserved bit would make the load fault.
    let mxcsr = read_u32(legacy, MXCSR) & DEFAULT_MXCSR_MASK;
    legacy[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
    legacy[MXCSR_MASK..MXCSR_MASK + 4].fill(0);
    if let Some(header) = ctx.fpu.get_mut(LEGACY_SIZE..LEGACY_SIZE + 8) {
        header.copy_from_slice(&(X87 | SSE).to_le_bytes());
    }
}

/// The FXSAVE image of a parked vCPU.
#[must_use]
pub fn fxsave_image(ctx: &VcpuCtx) -> [u8; LEGACY_SIZE] {
    let mut image = [0; LEGACY_SIZE];
    if let Some(legacy) = ctx.fpu.get(..LEGACY_SIZE) {
        image.copy_from_slice(legacy);
    }
    image[SOFTWARE_BYTES].fill(0);
    image
}

/// Bytes of the XSAVE area that XEN_DOMCTL_getvcpuextstate gives for this vCPU: every component it ever enabled; 0
/// without XSAVE.
#[must_use]
pub fn extended_size(ctx: &VcpuCtx, policy: &CpuPolicy) -> usize {
    if policy.xcr0_mask() == 0 {
        return 0;
    }
    (policy.xstate_size(ctx.xcr0_accum) as usize).min(ctx.fpu.len())
}

/// Replaces the whole state of a parked vCPU (XEN_DOMCTL_setvcpuextstate): `area` is an XSAVE area in standard format.
///
/// # Errors
/// `EINVAL`: wrong size, XCR0 values that the policy does not allow, components in the area that were never enabled.
/// `EOPNOTSUPP`: compacted format or reserved header bits.
pub fn set_extended(
    ctx: &mut VcpuCtx,
    policy: &CpuPolicy,
    xcr0: u64,
    xcr0_accum: u64,
    area: &[u8],
) -> Result<(), Errno> {
    let allowed = policy.xcr0_mask();
    let valid = is_valid_xcr0(xcr0)
        && is_valid_xcr0(xcr0_accum)
        && xcr0 & !xcr0_accum == 0
        && xcr0_accum & !allowed == 0;
    let needed = policy.xstate_size(xcr0_accum) as usize;
    if !valid
        || area.len() < LEGACY_SIZE + HEADER_SIZE
        || area.len() > needed
        || area.len() > ctx.fpu.len()
    {
        return Err(Errno::EINVAL);
    }
    let header = &area[LEGACY_SIZE..LEGACY_SIZE + HEADER_SIZE];
    if header[8..].iter().any(|&byte| byte != 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    let present = u64::from(read_u32(header, 0)) | u64::from(read_u32(header, 4)) << 32;
    let sized = area.len() >= policy.xstate_size(present & allowed) as usize;
    if present & !xcr0_accum != 0 || !sized || read_u32(area, MXCSR) & !DEFAULT_MXCSR_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    ctx.fpu.fill(0);
    ctx.fpu[..area.len()].copy_from_slice(area);
    ctx.fpu[SOFTWARE_BYTES].fill(0);
    ctx.xcr0 = xcr0;
    ctx.xcr0_accum = xcr0_accum;
    Ok(())
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
