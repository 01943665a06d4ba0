//! Privileged instructions that the hypervisor does not emulate, answered when they fault: INVLPG and HLT.
//!
//! Code written for a native kernel flushes by INVLPG and idles by HLT, both of which are #GP in ring 3.
//! `answer_faults` makes the shim do what they ask for. All else that faults goes to its handler as before.

use crate::frame::Frame;

/// What a faulting instruction asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `invlpg` of a linear address.
    FlushPage(u64),
    /// `hlt`.
    Halt,
}

fn register(frame: &Frame, number: u8) -> u64 {
    match number {
        0 => frame.rax,
        1 => frame.rcx,
        2 => frame.rdx,
        3 => frame.rbx,
        4 => frame.rsp,
        5 => frame.rbp,
        6 => frame.rsi,
        7 => frame.rdi,
        8 => frame.r8,
        9 => frame.r9,
        10 => frame.r10,
        11 => frame.r11,
        12 => frame.r12,
        13 => frame.r13,
        14 => frame.r14,
        _ => frame.r15,
    }
}

/// Decodes the instruction of a frame from its bytes. What it asks for, and its length; `None` if it is another one, or has
/// a prefix other than REX (a segment base would count, and nothing asks for one here).
pub fn decode(frame: &Frame, byte: impl Fn(u64) -> u8) -> Option<(Request, u64)> {
    let mut at = 0;
    let mut next = || {
        let value = byte(frame.rip.wrapping_add(at));
        at += 1;
        value
    };
    let mut opcode = next();
    let mut rex = 0;
    if opcode & 0xf0 == 0x40 {
        rex = opcode;
        opcode = next();
    }
    if opcode == 0xf4 {
        return Some((Request::Halt, at));
    }
    if opcode != 0x0f || next() != 0x01 {
        return None;
    }
    let modrm = next();
    let (kind, extension, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
    if kind == 3 || extension != 7 {
        return None;
    }
    let (index_high, base_high) = ((rex & 2) << 2, (rex & 1) << 3);
    let mut relative = false;
    let mut wide = kind == 2;
    let mut address = 0u64;
    if rm == 4 {
        let sib = next();
        let index = ((sib >> 3) & 7) | index_high;
        if index != 4 {
            address = register(frame, index) << (sib >> 6);
        }
        if sib & 7 == 5 && kind == 0 {
            wide = true;
        } else {
            address = address.wrapping_add(register(frame, (sib & 7) | base_high));
        }
    } else if rm == 5 && kind == 0 {
        (relative, wide) = (true, true);
    } else {
        address = register(frame, rm | base_high);
    }
    if wide {
        let bytes = [next(), next(), next(), next()];
        address = address.wrapping_add_signed(i32::from_le_bytes(bytes).into());
    } else if kind == 1 {
        address = address.wrapping_add_signed(i64::from(next().cast_signed()));
    }
    if relative {
        address = address.wrapping_add(frame.rip).wrapping_add(at);
    }
    Some((Request::FlushPage(address), at))
}

/// From now on, does what a faulting INVLPG or HLT of the kernel asks for.
#[cfg(target_os = "none")]
pub fn answer_faults() {
    crate::traps::set_answer(answer);
}

#[cfg(target_os = "none")]
fn answer(frame: &mut Frame) -> bool {
    if frame.vector != 13 || frame.error_code != 0 || frame.from_user() {
        return false;
    }
    match decode(frame, crate::mmu::text_byte) {
        Some((Request::FlushPage(address), length)) => {
            crate::mmu::flush_page(address, crate::mmu::Reach::Local);
            frame.rip += length;
            true
        }
        Some((Request::Halt, length)) => {
            // `block` unmasks events: the first one that comes ends the wait, as with `sti; hlt`.
            crate::sched::block();
            frame.rip += length;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<(Request, u64)> {
        let frame = Frame {
            rip: 0x1000,
            rax: 0xaaaa_0000,
            rcx: 0x10,
            rsp: 0x5000,
            r13: 0xdddd_0000,
            r12: 0xcccc_0000,
            ..Frame::default()
        };
        decode(&frame, |address| {
            code.get((address - 0x1000) as usize)
                .copied()
                .unwrap_or(0x90)
        })
    }

    #[test]
    fn addresses_of_all_forms() {
        let flush = |address, length| Some((Request::FlushPage(address), length));
        // invlpg [rax]; [rcx+8]; [r13-16]; [r12]; [rsp]; [rax+rcx*4+0x100]; [rip+0x20]; [0x1234]; [rcx*8-1]
        assert_eq!(decoded(&[0x0f, 0x01, 0x38]), flush(0xaaaa_0000, 3));
        assert_eq!(decoded(&[0x0f, 0x01, 0x79, 8]), flush(0x18, 4));
        assert_eq!(
            decoded(&[0x41, 0x0f, 0x01, 0x7d, 0xf0]),
            flush(0xdddc_fff0, 5)
        );
        assert_eq!(
            decoded(&[0x41, 0x0f, 0x01, 0x3c, 0x24]),
            flush(0xcccc_0000, 5)
        );
        assert_eq!(decoded(&[0x0f, 0x01, 0x3c, 0x24]), flush(0x5000, 4));
        let scaled = [0x0f, 0x01, 0xbc, 0x88, 0, 1, 0, 0];
        assert_eq!(decoded(&scaled), flush(0xaaaa_0140, 8));
        assert_eq!(
            decoded(&[0x0f, 0x01, 0x3d, 0x20, 0, 0, 0]),
            flush(0x1027, 7)
        );
        let absolute = [0x0f, 0x01, 0x3c, 0x25, 0x34, 0x12, 0, 0];
        assert_eq!(decoded(&absolute), flush(0x1234, 8));
        let index_only = [0x0f, 0x01, 0x3c, 0xcd, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decoded(&index_only), flush(0x7f, 8));
    }

    #[test]
    fn other_instructions_are_not_answered() {
        assert_eq!(decoded(&[0xf4]), Some((Request::Halt, 1)));
        for code in [
            &[0x0f, 0x01, 0xf8][..],   // swapgs
            &[0x0f, 0x01, 0x10],       // lgdt [rax]
            &[0x0f, 0x22, 0xd8],       // mov cr3, rax
            &[0x65, 0x0f, 0x01, 0x38], // invlpg gs:[rax]
            &[0x90],
        ] {
            assert_eq!(decoded(code), None, "{code:x?}");
        }
    }
}
