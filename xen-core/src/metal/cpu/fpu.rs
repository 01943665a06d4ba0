//! FPU state of guests: XSAVE in the standard format, or FXSAVE on processors without it (SDM 1, chapter 13).
//!
//! The state is switched eagerly, all of it, whatever the guest enabled: nothing of one vCPU is left for another
//! (XSA-267). The hypervisor itself is built without FPU instructions.
// UNSAFETY: saves to and loads from raw buffers.

use alloc::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use core::arch::{asm, global_asm};
use core::ptr::NonNull;

use spin::Once;

use super::{control, cpuid};

/// Bytes of the legacy area.
const LEGACY_SIZE: usize = 512;
/// Bytes of legacy area and header.
const HEADER_END: usize = 576;
/// Alignment that XSAVE asks for.
const ALIGNMENT: usize = 64;
/// Offset of MXCSR in the legacy area.
const MXCSR: usize = 24;
/// Offset of the x87 control word.
const FCW: usize = 0;
/// Values at reset.
const FCW_RESET: u16 = 0x37f;
const MXCSR_RESET: u32 = 0x1f80;

/// x87.
const XCR0_X87: u64 = 1 << 0;
/// SSE.
const XCR0_SSE: u64 = 1 << 1;
/// AVX.
const XCR0_AVX: u64 = 1 << 2;
/// The three parts of AVX-512.
const XCR0_AVX512: u64 = 7 << 5;
/// Components that the hypervisor knows how to handle: those whose instructions guests may be shown.
const XCR0_KNOWN: u64 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512;

/// What the processors can save.
struct Facts {
    /// Components in use; 0 without XSAVE.
    xcr0: u64,
    /// Bytes of an area with all of them.
    size: usize,
    /// See [`cpuid::keeps_fpu_pointers`].
    keeps_pointers: bool,
}

static FACTS: Once<Facts> = Once::new();

fn facts() -> &'static Facts {
    let Some(facts) = FACTS.get() else {
        panic!("the FPU is used before it is set up")
    };
    facts
}

/// An area as the instructions want it, for a CPU's use while it copies to or from where a vCPU's state is kept.
pub struct FpuBuffer(Option<NonNull<u8>>);

// SAFETY: the pointer is to memory that nothing else refers to.
unsafe impl Send for FpuBuffer {}

impl FpuBuffer {
    /// A buffer that takes its memory on first use.
    pub const fn new() -> Self {
        Self(None)
    }

    fn area(&mut self) -> &mut [u8] {
        let size = facts().size;
        let pointer = *self.0.get_or_insert_with(|| {
            let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) else {
                panic!("FPU area of {size} bytes")
            };
            // SAFETY: the size is not zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })
                .unwrap_or_else(|| handle_alloc_error(layout))
        });
        // SAFETY: `size` bytes, allocated above, that only this value refers to.
        unsafe { core::slice::from_raw_parts_mut(pointer.as_ptr(), size) }
    }
}

global_asm!(include_str!("fpu.S"), options(att_syntax));

unsafe extern "C" {
    fn fpu_xrstor(area: *const u8, components: u64) -> u64;
    fn fpu_fxrstor(area: *const u8) -> u64;
    fn fpu_forget_pointers();
}

/// Finds out what there is and enables all of it on the executing CPU.
pub fn set_up(use_xsave: bool) {
    let facts = FACTS.call_once(|| {
        let keeps_pointers = cpuid::keeps_fpu_pointers();
        if !use_xsave || !cpuid::has_xsave() {
            return Facts {
                xcr0: 0,
                size: LEGACY_SIZE,
                keeps_pointers,
            };
        }
        let leaf = cpuid::leaf(0xd, 0);
        let supported = u64::from(leaf.d) << 32 | u64::from(leaf.a);
        let mut xcr0 = supported & XCR0_KNOWN;
        // All three parts or none, and not without AVX (SDM 1, 13.3).
        if xcr0 & XCR0_AVX512 != XCR0_AVX512 || xcr0 & XCR0_AVX == 0 {
            xcr0 &= !XCR0_AVX512;
        }
        set_xcr0(xcr0);
        // EBX counts what XCR0 enables now.
        Facts {
            xcr0,
            size: (cpuid::leaf(0xd, 0).b as usize).max(HEADER_END),
            keeps_pointers,
        }
    });
    if facts.xcr0 != 0 {
        set_xcr0(facts.xcr0);
    }
    control::set_task_switched(false);
}

/// Components that can be enabled; 0 without XSAVE.
pub fn host_xcr0() -> u64 {
    facts().xcr0
}

/// Bytes of an area with all components.
pub fn area_size() -> usize {
    facts().size
}

/// Reads XCR0; 0 without XSAVE.
pub fn xcr0() -> u64 {
    if facts().xcr0 == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: reads a register that exists with CR4.OSXSAVE, which XSAVE in use implies.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(att_syntax, nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes XCR0: a subset of what the host can enable, with the dependencies between components kept.
pub fn set_xcr0(value: u64) {
    // SAFETY: the hypervisor executes no FPU instruction that depends on it; a value that is not valid would raise #GP,
    // and the callers checked it.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(att_syntax, nostack, preserves_flags));
    }
}

/// Runs `action` with CR0.TS clear and all components enabled, then puts both back.
fn with_everything_enabled<R>(action: impl FnOnce() -> R) -> R {
    let had_ts = control::cr0() & x86_64::registers::control::Cr0Flags::TASK_SWITCHED.bits() != 0;
    if had_ts {
        control::set_task_switched(false);
    }
    let host = facts().xcr0;
    let guest = xcr0();
    if guest != host {
        set_xcr0(host);
    }
    let result = action();
    if guest != host {
        set_xcr0(guest);
    }
    if had_ts {
        control::set_task_switched(true);
    }
    result
}

/// Saves the executing CPU's FPU state to `to`, which has at least [`area_size`] bytes.
pub fn save(buffer: &mut FpuBuffer, to: &mut [u8]) {
    let area = buffer.area();
    // XSAVE leaves parts of the header and of components in their initial state as they were: no old data may show.
    area.fill(0);
    let pointer = area.as_mut_ptr();
    let components = facts().xcr0;
    // SAFETY: the buffer has the alignment and, for all enabled components, the size that the instruction needs.
    with_everything_enabled(|| unsafe {
        if components == 0 {
            asm!("fxsave64 ({})", in(reg) pointer, options(att_syntax, nostack, preserves_flags));
        } else {
            asm!("xsave64 ({})", in(reg) pointer, in("eax") components as u32, in("edx") (components >> 32) as u32,
                 options(att_syntax, nostack, preserves_flags));
        }
    });
    to[..area.len()].copy_from_slice(area);
}

/// Loads the FPU state in `from`. If the processor refuses it, the state after reset is loaded, and false returned.
pub fn restore(buffer: &mut FpuBuffer, from: &[u8]) -> bool {
    let area = buffer.area();
    area.fill(0);
    let len = from.len().min(area.len());
    area[..len].copy_from_slice(&from[..len]);
    let components = facts().xcr0;
    let load = |area: &[u8]| {
        // SAFETY: alignment and size as in `save`; #GP on reserved bits is recovered through the exception table. The
        // state loaded is the guest's: the hypervisor uses none of it.
        with_everything_enabled(|| unsafe {
            if facts().keeps_pointers {
                // Where the vCPU before executed its last x87 instruction is not the next one's to know (XSA-52).
                fpu_forget_pointers();
            }
            if components == 0 {
                fpu_fxrstor(area.as_ptr())
            } else {
                fpu_xrstor(area.as_ptr(), components)
            }
        }) == 0
    };
    if load(area) {
        return true;
    }
    area.fill(0);
    area[FCW..FCW + 2].copy_from_slice(&FCW_RESET.to_le_bytes());
    area[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_RESET.to_le_bytes());
    assert!(
        load(area),
        "the processor refuses the FPU state after reset"
    );
    false
}
