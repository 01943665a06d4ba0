//! General registers by the names that instructions use.

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::Register;

/// Where a named register lies: number, bytes, and whether it is bits 8-15.
struct Place {
    number: u32,
    bytes: u32,
    high: bool,
}

/// Registers of each width, in the order of their encoding.
const BYTES: [Register; 20] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
    Register::AH,
    Register::CH,
    Register::DH,
    Register::BH,
];

fn place(register: Register) -> Option<Place> {
    let number = register as u32;
    let wide = |first: Register, bytes| {
        let offset = number.checked_sub(first as u32)?;
        (offset < 16).then_some(Place {
            number: offset,
            bytes,
            high: false,
        })
    };
    if let Some(place) = wide(Register::RAX, 8)
        .or_else(|| wide(Register::EAX, 4))
        .or_else(|| wide(Register::AX, 2))
    {
        return Some(place);
    }
    let index = BYTES.iter().position(|&byte| byte == register)? as u32;
    Some(if index < 16 {
        Place {
            number: index,
            bytes: 1,
            high: false,
        }
    } else {
        Place {
            number: index - 16,
            bytes: 1,
            high: true,
        }
    })
}

fn slot(regs: &mut CpuUserRegs, number: u32) -> &mut u64 {
    match number {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        _ => &mut regs.r15,
    }
}

const fn full(regs: &CpuUserRegs, number: u32) -> u64 {
    match number {
        0 => regs.rax,
        1 => regs.rcx,
        2 => regs.rdx,
        3 => regs.rbx,
        4 => regs.rsp,
        5 => regs.rbp,
        6 => regs.rsi,
        7 => regs.rdi,
        8 => regs.r8,
        9 => regs.r9,
        10 => regs.r10,
        11 => regs.r11,
        12 => regs.r12,
        13 => regs.r13,
        14 => regs.r14,
        _ => regs.r15,
    }
}

/// The mask of an operand of `bytes` bytes.
#[must_use]
pub const fn mask(bytes: u32) -> u64 {
    if bytes >= 8 {
        u64::MAX
    } else {
        (1 << (bytes * 8)) - 1
    }
}

/// Bytes of a general register; `None` for anything else.
#[must_use]
pub fn size(register: Register) -> Option<u32> {
    place(register).map(|place| place.bytes)
}

/// The value of a general register of any width; `None` for anything else.
#[must_use]
pub fn read(regs: &CpuUserRegs, register: Register) -> Option<u64> {
    let Place {
        number,
        bytes,
        high,
    } = place(register)?;
    let value = full(regs, number);
    Some(if high {
        (value >> 8) & 0xff
    } else {
        value & mask(bytes)
    })
}

/// Writes a general register: 32-bit writes clear the upper half, narrower ones keep the rest. False for anything else.
pub fn write(regs: &mut CpuUserRegs, register: Register, value: u64) -> bool {
    let Some(Place {
        number,
        bytes,
        high,
    }) = place(register)
    else {
        return false;
    };
    let slot = slot(regs, number);
    *slot = match (bytes, high) {
        (4.., _) => value & mask(bytes),
        (_, true) => (*slot & !0xff00) | ((value & 0xff) << 8),
        (_, false) => (*slot & !mask(bytes)) | (value & mask(bytes)),
    };
    true
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn each_width_reads_and_writes_its_part() {
        let mut regs = CpuUserRegs::new_zeroed();
        regs.rbx = 0x1122_3344_5566_7788;
        assert_eq!(read(&regs, Register::RBX), Some(0x1122_3344_5566_7788));
        assert_eq!(read(&regs, Register::EBX), Some(0x5566_7788));
        assert_eq!(read(&regs, Register::BX), Some(0x7788));
        assert_eq!(read(&regs, Register::BL), Some(0x88));
        assert_eq!(read(&regs, Register::BH), Some(0x77));
        assert!(write(&mut regs, Register::BH, 0xaa));
        assert_eq!(regs.rbx, 0x1122_3344_5566_aa88);
        assert!(write(&mut regs, Register::BX, 0x1_0000));
        assert_eq!(regs.rbx, 0x1122_3344_5566_0000);
        assert!(write(&mut regs, Register::EBX, u64::MAX));
        assert_eq!(regs.rbx, 0xffff_ffff);
    }

    #[test]
    fn encoded_numbers_name_the_right_registers() {
        let mut regs = CpuUserRegs::new_zeroed();
        for (register, value) in [
            (Register::SPL, 1),
            (Register::BPL, 2),
            (Register::SIL, 3),
            (Register::DIL, 4),
            (Register::R8D, 5),
            (Register::R15, 6),
            (Register::R13W, 7),
        ] {
            assert!(write(&mut regs, register, value));
        }
        assert_eq!((regs.rsp, regs.rbp, regs.rsi, regs.rdi), (1, 2, 3, 4));
        assert_eq!((regs.r8, regs.r15, regs.r13), (5, 6, 7));
        assert_eq!(read(&regs, Register::XMM0), None);
        assert!(!write(&mut regs, Register::CR0, 1));
        assert_eq!(read(&regs, Register::RIP), None);
    }
}
