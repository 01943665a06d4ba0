//! The code segment of a guest and the bytes at its instruction pointer.

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::{Instruction, Register};

use super::page_fault;
use core::sync::atomic::Ordering;

use crate::domain::{MAX_GDT_ENTRIES, PendingException, VcpuCtx};
use crate::emulate::decode::{self, CodeWidth, DecodeError, MAX_LENGTH};
use crate::guest::is_guest_address;
use crate::machine::{Frames, GuestFault, Machine, PvCpu, SegmentBase, SelectorReg};
use crate::num::{PAGE_SIZE, is_canonical};

/// Selector of the flat 64-bit code segment in the reserved part of every GDT (public header xen-x86_64.h).
const FLAT_CS64: u16 = 0xe033;
/// Selector of the flat 32-bit code segment.
const FLAT_CS32: u16 = 0xe023;
/// Selector of the flat data segment.
const FLAT_DS: u16 = 0xe02b;

/// Descriptors behind the three flat selectors.
const FLAT_CS64_DESCRIPTOR: u64 = 0x00af_fb00_0000_ffff;
const FLAT_CS32_DESCRIPTOR: u64 = 0x00cf_fb00_0000_ffff;
const FLAT_DS_DESCRIPTOR: u64 = 0x00cf_f300_0000_ffff;

/// A segment descriptor (SDM volume 3, 3.4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor(u64);

impl Descriptor {
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// Present, code or data, ring 3: what a ring-3 segment register can hold.
    const fn is_usable(self) -> bool {
        self.bit(47) && self.bit(44) && self.0 >> 45 & 3 == 3
    }

    const fn is_code(self) -> bool {
        self.bit(43)
    }

    /// Code that may be read, or data that may be written.
    const fn readable_or_writable(self) -> bool {
        self.bit(41)
    }

    const fn base(self) -> u64 {
        (self.0 >> 16 & 0xff_ffff) | (self.0 >> 56 & 0xff) << 24
    }

    const fn limit(self) -> u64 {
        let limit = (self.0 & 0xffff) | (self.0 >> 48 & 0xf) << 16;
        if self.bit(55) {
            limit << 12 | 0xfff
        } else {
            limit
        }
    }

    const fn width(self) -> CodeWidth {
        match (self.bit(53), self.bit(54)) {
            (true, _) => CodeWidth::Bits64,
            (false, true) => CodeWidth::Bits32,
            (false, false) => CodeWidth::Bits16,
        }
    }
}

/// The descriptor that `selector` names, if it lies within the guest's tables (XSA-298). LDT pages are read through the
/// frames that the processor used: a segment that is loaded has its page there.
fn descriptor(frames: &impl Frames, ctx: &VcpuCtx, selector: u16) -> Option<Descriptor> {
    let index = u32::from(selector) >> 3;
    let (page, slot) = (index as usize / 512, index as usize % 512);
    let frame = if selector & 4 != 0 {
        (index < ctx.ldt.entries).then(|| ctx.ldt.shadow.get(page).copied().flatten())?
    } else if index >= MAX_GDT_ENTRIES {
        return match selector | 3 {
            FLAT_CS64 => Some(Descriptor(FLAT_CS64_DESCRIPTOR)),
            FLAT_CS32 => Some(Descriptor(FLAT_CS32_DESCRIPTOR)),
            FLAT_DS => Some(Descriptor(FLAT_DS_DESCRIPTOR)),
            _ => None,
        };
    } else {
        (index < ctx.gdt.entries).then(|| ctx.gdt.frames.get(page).copied().flatten())?
    };
    Some(Descriptor(
        frames.words(frame?)[slot].load(Ordering::Relaxed),
    ))
}

/// An instruction and where it came from.
pub(super) struct Fetched {
    pub instruction: Instruction,
    pub width: CodeWidth,
}

/// Why an instruction could not be fetched.
pub(super) enum FetchError {
    /// The fault that the guest gets instead.
    Fault(PendingException),
    /// The bytes are no instruction, or the code segment is none.
    Unusable,
}

/// The bytes at RIP.
pub(super) struct Snapshot {
    bytes: [u8; MAX_LENGTH],
    len: usize,
    /// Why there are no more.
    end: Option<GuestFault>,
    pub width: CodeWidth,
}

impl Snapshot {
    /// Reads up to 15 bytes at RIP, each once.
    ///
    /// # Errors
    /// CS is no code segment, or not even one byte can be read.
    pub(super) fn take<M: Machine>(
        machine: &M,
        ctx: &VcpuCtx,
        regs: &CpuUserRegs,
    ) -> Result<Self, FetchError> {
        let code = descriptor(machine, ctx, regs.cs)
            .filter(|code| code.is_usable() && code.is_code())
            .ok_or(FetchError::Unusable)?;
        let width = code.width();
        let mut snapshot = Self {
            bytes: [0; MAX_LENGTH],
            len: 0,
            end: None,
            width,
        };
        let (start, room) = if width == CodeWidth::Bits64 {
            (regs.rip, MAX_LENGTH)
        } else {
            let offset = regs.rip & 0xffff_ffff;
            let room = (code.limit() + 1)
                .checked_sub(offset)
                .ok_or(FetchError::Unusable)?;
            (
                code.base().wrapping_add(offset) & 0xffff_ffff,
                room.min(MAX_LENGTH as u64) as usize,
            )
        };
        let mut addr = start;
        while snapshot.len < room {
            let in_page = (PAGE_SIZE - addr % PAGE_SIZE) as usize;
            let chunk = in_page.min(room - snapshot.len);
            if !is_canonical(addr) {
                // Fetching there is #GP by itself: no page is missing.
                break;
            }
            if !is_guest_address(addr) {
                snapshot.end = Some(GuestFault {
                    addr,
                    write: false,
                    present: true,
                });
                break;
            }
            let target = &mut snapshot.bytes[snapshot.len..snapshot.len + chunk];
            if let Err(fault) = machine.copy_from_guest(addr, target) {
                snapshot.end = Some(fault);
                break;
            }
            snapshot.len += chunk;
            addr = addr.wrapping_add(chunk as u64);
        }
        Ok(snapshot)
    }

    /// The bytes that could be read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The #PF for bytes beyond the snapshot.
    pub(super) fn fault(&self) -> Option<PendingException> {
        self.end.map(|fault| page_fault(fault, true))
    }

    /// Decodes the snapshot from byte `skip` on.
    ///
    /// # Errors
    /// As [`FetchError`].
    pub(super) fn decode(&self, rip: u64) -> Result<Fetched, FetchError> {
        match decode::decode(self.bytes(), rip, self.width) {
            Ok(instruction) => Ok(Fetched {
                instruction,
                width: self.width,
            }),
            Err(DecodeError::Truncated) => {
                Err(self.fault().map_or(FetchError::Unusable, FetchError::Fault))
            }
            Err(DecodeError::Invalid) => Err(FetchError::Unusable),
        }
    }
}

/// An operand in memory.
pub(super) struct Operand {
    pub segment: Register,
    pub offset: u64,
    pub bytes: u32,
    pub write: bool,
}

/// Linear address of an operand of code of `width`, or `None` if its segment does not allow the access. 64-bit code is
/// flat but for FS and GS.
pub(super) fn linear_address<M: Machine>(
    machine: &M,
    ctx: &VcpuCtx,
    regs: &CpuUserRegs,
    width: CodeWidth,
    operand: &Operand,
) -> Option<u64> {
    let Operand {
        segment,
        offset,
        bytes,
        write,
    } = *operand;
    if width == CodeWidth::Bits64 {
        return Some(segment_base(machine, segment).wrapping_add(offset));
    }
    let selector = match segment {
        Register::CS => regs.cs,
        Register::SS => regs.ss,
        Register::DS => machine.selector(SelectorReg::Ds),
        Register::ES => machine.selector(SelectorReg::Es),
        Register::FS => machine.selector(SelectorReg::Fs),
        Register::GS => machine.selector(SelectorReg::Gs),
        _ => return None,
    };
    let descriptor = descriptor(machine, ctx, selector).filter(|found| found.is_usable())?;
    let allowed = match (descriptor.is_code(), write) {
        (true, false) | (false, true) => descriptor.readable_or_writable(),
        (true, true) => false,
        (false, false) => true,
    };
    // Expand-down segments are of no use to flat guests and are not worth a rule.
    let expand_down = !descriptor.is_code() && descriptor.bit(42);
    let last = offset.checked_add(u64::from(bytes) - 1)?;
    if !allowed || expand_down || last > descriptor.limit() {
        return None;
    }
    Some(descriptor.base().wrapping_add(offset) & 0xffff_ffff)
}

/// The base of a segment in 64-bit code.
pub(super) fn segment_base(cpu: &impl PvCpu, segment: Register) -> u64 {
    match segment {
        Register::FS => cpu.base(SegmentBase::Fs),
        Register::GS => cpu.base(SegmentBase::Gs),
        _ => 0,
    }
}
