//! 32-bit Linux programs, one per way into the kernel: `int $0x80`, `sysenter` and `syscall`.
//!
//! Each asks for its process id by `int $0x80` and by its own way and compares, writes a line, asks for a system
//! call that does not exist and expects -ENOSYS, and ends with status 0 if all was right. Linux answers
//! `sysenter` and 32-bit `syscall` at its vDSO's landing pad, which pops EBP, EDX and ECX and returns; so the
//! program pushes those three as the vDSO itself does (`arch/x86/entry/vdso/vdso32` documents the convention).

use crate::elf::{Executable, Machine};

/// Where Linux programs of this kind are linked.
const BASE: u32 = 0x0804_8000;

const SYS_EXIT: u32 = 1;
const SYS_WRITE: u32 = 4;
const SYS_GETPID: u32 = 20;
const SYS_NONE: u32 = 0x3fff;
const ENOSYS: u32 = 38;

/// The programs by name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    // push ecx; push edx; push ebp; mov ebp, esp; sysenter
    let sysenter = [0x51, 0x52, 0x55, 0x89, 0xe5, 0x0f, 0x34];
    // push ecx; push edx; push ebp; mov ebp, ecx; syscall
    let syscall = [0x51, 0x52, 0x55, 0x89, 0xcd, 0x0f, 0x05];
    // int 0x80; ret
    let int80 = [0xcd, 0x80, 0xc3];
    vec![
        ("int80", program("32-bit int 0x80\n", &int80)),
        ("sysenter", program("32-bit sysenter\n", &sysenter)),
        ("syscall32", program("32-bit syscall\n", &syscall)),
    ]
}

/// A program that enters the kernel through the function `gate`.
fn program(message: &str, gate: &[u8]) -> Vec<u8> {
    let mut code = Code { bytes: Vec::new() };
    let fail = code.here();
    code.set_ebx(1);
    let exit = code.here();
    code.set_eax(SYS_EXIT);
    code.int80();
    let gate_at = code.here();
    code.emit(gate);
    let text = code.here();
    code.emit(message.as_bytes());
    let length = message.len() as u32;

    let entry = code.here();
    code.set_eax(SYS_GETPID);
    code.int80();
    code.emit(&[0x89, 0xc6]); // mov esi, eax
    code.set_eax(SYS_GETPID);
    code.call(gate_at);
    code.emit(&[0x39, 0xf0]); // cmp eax, esi
    code.jump_if_not_equal(fail);
    code.set_ebx(1);
    code.emit(&[0xb9]); // mov ecx, text
    code.word(BASE + text);
    code.emit(&[0xba]); // mov edx, length
    code.word(length);
    code.set_eax(SYS_WRITE);
    code.call(gate_at);
    code.expect_eax(length, fail);
    code.emit(&[0x83, 0xfb, 0x01]); // cmp ebx, 1
    code.jump_if_not_equal(fail);
    code.set_eax(SYS_NONE);
    code.call(gate_at);
    code.expect_eax(ENOSYS.wrapping_neg(), fail);
    code.set_ebx(0);
    code.jump(exit);

    let program = Executable {
        machine: Machine::I386,
        vaddr: u64::from(BASE),
        paddr: u64::from(BASE),
        entry: u64::from(BASE + entry),
        image: code.bytes,
        bss: 0,
        notes: Vec::new(),
    };
    program.file()
}

/// Machine code whose jumps all go backwards, so that one pass is enough.
struct Code {
    bytes: Vec<u8>,
}

impl Code {
    fn here(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn word(&mut self, value: u32) {
        self.emit(&value.to_le_bytes());
    }

    /// The distance from the end of the operand that follows to `target`.
    fn relative(&mut self, target: u32) {
        self.word(target.wrapping_sub(self.here() + 4));
    }

    fn set_eax(&mut self, value: u32) {
        self.emit(&[0xb8]);
        self.word(value);
    }

    fn set_ebx(&mut self, value: u32) {
        self.emit(&[0xbb]);
        self.word(value);
    }

    fn int80(&mut self) {
        self.emit(&[0xcd, 0x80]);
    }

    fn call(&mut self, target: u32) {
        self.emit(&[0xe8]);
        self.relative(target);
    }

    fn jump(&mut self, target: u32) {
        self.emit(&[0xe9]);
        self.relative(target);
    }

    fn jump_if_not_equal(&mut self, target: u32) {
        self.emit(&[0x0f, 0x85]);
        self.relative(target);
    }

    fn expect_eax(&mut self, value: u32, otherwise: u32) {
        self.emit(&[0x3d]);
        self.word(value);
        self.jump_if_not_equal(otherwise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_relative_to_their_end() {
        let mut code = Code { bytes: Vec::new() };
        code.emit(&[0x90]);
        code.call(0);
        assert_eq!(code.bytes, [0x90, 0xe8, 0xfa, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn every_way_in_has_its_program() {
        let names: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["int80", "sysenter", "syscall32"]);
    }
}
