//! Tiny PV kernels, and files that are not quite kernels, made byte by byte for the loader's tests.
//!
//! Contract: `xen/include/public/elfnote.h`, `sched.h`, and the 64-bit calling convention of
//! `arch-x86/xen-x86_64.h` (number in RAX, arguments in RDI, RSI, RDX; `syscall` clobbers RCX and R11).

use crate::elf::{Executable, Machine, Note};

const CONSOLE_IO: u8 = 18;
const SCHED_OP: u8 = 29;
const SCHEDOP_BLOCK: u8 = 1;
const SCHEDOP_SHUTDOWN: u8 = 2;

const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
const LOAD_AT: u64 = 0x10_0000;

/// Why a kernel shuts down (`SHUTDOWN_*` of `sched.h`).
#[derive(Clone, Copy, Debug)]
pub enum Shutdown {
    /// `SHUTDOWN_poweroff`.
    PowerOff = 0,
    /// `SHUTDOWN_reboot`.
    Reboot = 1,
    /// `SHUTDOWN_crash`.
    Crash = 3,
    /// Not at all: it waits for events, of which it takes none.
    Never = 254,
    /// None: it reads an address that is not mapped, and has no handler.
    Fault = 255,
}

/// What is put into the kernel's file.
pub struct PvKernel {
    /// The machine it claims to be for.
    pub machine: Machine,
    /// Whether it carries Xen's notes.
    pub notes: bool,
    /// Bytes of zeroes that it asks for behind its code.
    pub bss: u64,
    /// How it ends.
    pub shutdown: Shutdown,
    /// What it prints.
    pub message: &'static str,
}

impl Default for PvKernel {
    fn default() -> Self {
        Self {
            machine: Machine::X86_64,
            notes: true,
            bss: 0x1000,
            shutdown: Shutdown::PowerOff,
            message: "Hello from a small PV kernel\n",
        }
    }
}

impl PvKernel {
    /// One that waits for ever.
    pub fn idle() -> Self {
        Self {
            shutdown: Shutdown::Never,
            ..Self::default()
        }
    }

    /// The ELF file.
    pub fn file(&self) -> Vec<u8> {
        let vaddr = VIRT_BASE + LOAD_AT;
        // The hypercall page comes first; the code follows it.
        let mut image = vec![0; 0x1000];
        image.extend_from_slice(&self.code());
        let notes = if self.notes {
            xen_notes(vaddr + 0x1000, vaddr)
        } else {
            Vec::new()
        };
        let file = Executable {
            machine: self.machine,
            vaddr,
            paddr: LOAD_AT,
            entry: vaddr + 0x1000,
            image,
            bss: self.bss,
            notes,
        };
        file.file()
    }

    /// `console_io(write, message)`, then `sched_op(shutdown, &reason)`.
    fn code(&self) -> Vec<u8> {
        let mut code = vec![0x48, 0x8d, 0x15]; // lea rdx, [rip + message]
        code.extend_from_slice(&[0; 4]);
        code.push(0xbe); // mov esi, length
        code.extend_from_slice(&(self.message.len() as u32).to_le_bytes());
        code.extend_from_slice(&[0x31, 0xff, 0xb8, CONSOLE_IO, 0, 0, 0, 0x0f, 0x05]); // xor edi, edi; mov eax; syscall
        if matches!(self.shutdown, Shutdown::Fault) {
            code.extend_from_slice(&[0x48, 0x8b, 0x04, 0x25, 0x98, 0xba, 0xdc, 0x0e]); // mov rax, [0xedcba98]
        }
        if matches!(self.shutdown, Shutdown::Never) {
            code.extend_from_slice(&[0x31, 0xf6, 0xbf, SCHEDOP_BLOCK, 0, 0, 0]); // xor esi, esi; mov edi
            code.extend_from_slice(&[0xb8, SCHED_OP, 0, 0, 0, 0x0f, 0x05]); // mov eax; syscall
            code.extend_from_slice(&[0xeb, 0xf0]); // jmp to the xor
        }
        code.extend_from_slice(&[0x48, 0x8d, 0x35]); // lea rsi, [rip + reason]
        let reason_operand = code.len();
        code.extend_from_slice(&[0; 4]);
        code.extend_from_slice(&[0xbf, SCHEDOP_SHUTDOWN, 0, 0, 0]); // mov edi
        code.extend_from_slice(&[0xb8, SCHED_OP, 0, 0, 0, 0x0f, 0x05]); // mov eax; syscall
        code.extend_from_slice(&[0x0f, 0x0b]); // ud2
        patch(&mut code, reason_operand);
        code.extend_from_slice(&(self.shutdown as u32).to_le_bytes());
        patch(&mut code, 3);
        code.extend_from_slice(self.message.as_bytes());
        code
    }
}

/// Let the RIP-relative operand at `operand` name the present end of the code.
fn patch(code: &mut [u8], operand: usize) {
    let distance = (code.len() - operand - 4) as u32;
    code[operand..operand + 4].copy_from_slice(&distance.to_le_bytes());
}

fn xen_notes(entry: u64, hypercall_page: u64) -> Vec<Note> {
    let note = |kind: u32, value: &[u8]| Note {
        owner: "Xen",
        kind,
        value: value.to_vec(),
    };
    vec![
        note(1, &entry.to_le_bytes()),
        note(2, &hypercall_page.to_le_bytes()),
        note(3, &VIRT_BASE.to_le_bytes()),
        note(4, &0_u64.to_le_bytes()),
        note(5, b"xen-3.0\0"),
        note(6, b"xenolith-test\0"),
        note(8, b"generic\0"),
        note(9, b"yes\0"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_point_at_message_and_reason() {
        let kernel = PvKernel {
            shutdown: Shutdown::Crash,
            message: "text",
            ..PvKernel::default()
        };
        let code = kernel.code();
        let operand = |at: usize| u32::from_le_bytes(code[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(&code[3 + 4 + operand(3)..], b"text");
        let reason = code
            .windows(3)
            .position(|w| w == [0x48, 0x8d, 0x35])
            .unwrap()
            + 3;
        assert_eq!(code[reason + 4 + operand(reason)], Shutdown::Crash as u8);
    }
}
