//! The hypercall page of a 64-bit PV guest.
//!
//! Contract: public/arch-x86/xen-x86_64.h: entry n at offset 32 * n clobbers nothing but RAX, so
//! each stub saves RCX and R11 around SYSCALL. `iret` does not return: its stub pushes what
//! `struct iret_context` wants first.

use hypercall_abi::xen::HypercallNr;

/// Bytes of the page.
pub const SIZE: usize = 4096;
/// Bytes of one entry.
const ENTRY: usize = 32;
const IRET: usize = HypercallNr::IRET.0 as usize;
/// INT3: what is not an entry traps.
const FILL: u8 = 0xcc;

/// The page's bytes.
#[must_use]
pub fn bytes() -> [u8; SIZE] {
    let mut page = [FILL; SIZE];
    for (number, entry) in page.chunks_exact_mut(ENTRY).enumerate() {
        let [n, ..] = number.to_le_bytes();
        if number == IRET {
            // push %rcx; push %r11; push %rax; mov $23, %eax; syscall
            copy(
                entry,
                &[0x51, 0x41, 0x53, 0x50, 0xb8, n, 0, 0, 0, 0x0f, 0x05],
            );
        } else {
            // push %rcx; push %r11; mov $n, %eax; syscall; pop %r11; pop %rcx; ret
            copy(
                entry,
                &[
                    0x51, 0x41, 0x53, 0xb8, n, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
                ],
            );
        }
    }
    page
}

/// The page of a guest that runs in hardware: VMCALL for `intel`, VMMCALL otherwise (public header
/// arch-x86/xen-x86_32.h, and cpuid.h for how it is asked for).
#[must_use]
pub fn for_hardware(intel: bool) -> [u8; SIZE] {
    let mut page = [FILL; SIZE];
    let call = if intel { 0xc1 } else { 0xd9 };
    for (number, entry) in page.chunks_exact_mut(ENTRY).enumerate() {
        let [n, ..] = number.to_le_bytes();
        if number == IRET {
            // There is no such call.
            copy(entry, &[0x0f, 0x0b]);
        } else {
            // mov $n, %eax; vmcall or vmmcall; ret
            copy(entry, &[0xb8, n, 0, 0, 0, 0x0f, 0x01, call, 0xc3]);
        }
    }
    page
}

fn copy(entry: &mut [u8], code: &[u8]) {
    for (to, from) in entry.iter_mut().zip(code) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_stubs_for_their_numbers() {
        let page = bytes();
        for number in 0..SIZE / ENTRY {
            let entry = &page[number * ENTRY..][..ENTRY];
            let (mov, end) = if number == IRET { (4, 11) } else { (3, 14) };
            assert_eq!(entry[mov], 0xb8);
            assert_eq!(
                entry[mov + 1..mov + 5],
                u32::try_from(number).unwrap().to_le_bytes()
            );
            assert_eq!(entry[mov + 5..mov + 7], [0x0f, 0x05]);
            assert!(entry[end..].iter().all(|&byte| byte == FILL));
        }
        assert_eq!(page[IRET * ENTRY + 3], 0x50);
        assert_eq!(page[13], 0xc3);
    }
}
