//! Call traces of the hypervisor, by frame pointers, with the names of functions.
//!
//! The names come from a table that the build puts behind the linked image: it is made from the ELF's symbols after
//! linking and its place is written into [`SYMBOLS`]. Format, little-endian: `u32` number of entries; that many pairs of
//! `u32` (address minus the image's base, offset of the name behind the entries), ascending; then the names, each with a
//! `u16` length in front.
// UNSAFETY: reads stack frames and the symbol table.

use core::fmt::Write;

use xen_core::boot::bytes::{u16_at, u32_at};

use crate::metal::mem::layout::IMAGE_BASE;
use crate::metal::mem::stacks::STACK_SIZE;
use crate::metal::serial;

/// Where the symbol table is.
#[repr(C)]
pub struct SymbolsPlace {
    /// Recognises the structure in the file.
    magic: [u8; 8],
    /// Virtual address; 0 if there is no table.
    start: u64,
    /// Bytes.
    len: u64,
}

/// Filled in after linking.
#[unsafe(link_section = ".symbols")]
#[used]
static SYMBOLS: SymbolsPlace = SymbolsPlace {
    magic: *b"XLSYMTAB",
    start: 0,
    len: 0,
};

/// Deepest trace.
const FRAMES_MAX: usize = 32;

unsafe extern "C" {
    static __text_start: [u8; 0];
    static __text_end: [u8; 0];
}

/// Address range of the table, if there is one.
pub fn symbols() -> Option<(u64, u64)> {
    let place = &raw const SYMBOLS;
    // SAFETY: the structure is static. Read as volatile: its content is not what the compiler saw.
    let (start, len) = unsafe {
        (
            (&raw const (*place).start).read_volatile(),
            (&raw const (*place).len).read_volatile(),
        )
    };
    (start != 0 && len != 0).then_some((start, len))
}

/// The function that `address` lies in, and the offset in it.
fn resolve(address: u64) -> Option<(&'static str, u64)> {
    let (start, len) = symbols()?;
    // SAFETY: the table was put there by the build and is mapped read-only with the image.
    let table = unsafe { core::slice::from_raw_parts(start as *const u8, len as usize) };
    let wanted = u32::try_from(address.checked_sub(IMAGE_BASE)?).ok()?;
    let count = u32_at(table, 0)? as usize;
    let entry = |index: usize| u32_at(table, 4 + index * 8);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if entry(middle)? <= wanted {
            low = middle + 1
        } else {
            high = middle
        }
    }
    let index = low.checked_sub(1)?;
    let name_at = 4 + count * 8 + u32_at(table, 4 + index * 8 + 4)? as usize;
    let name = table
        .get(name_at + 2..)?
        .get(..usize::from(u16_at(table, name_at)?))?;
    Some((
        core::str::from_utf8(name).ok()?,
        u64::from(wanted - entry(index)?),
    ))
}

fn print_line(address: u64) {
    let _ = match resolve(address) {
        Some((name, offset)) => writeln!(
            serial::Writer,
            "(XEN)    [<{address:016x}>] {name}+{offset:#x}"
        ),
        None => writeln!(serial::Writer, "(XEN)    [<{address:016x}>]"),
    };
}

/// Prints the trace: `rip` first, if given, then what the chain of frames that begins at `frame_pointer` returns to.
/// The chain is followed within one stack only, upwards.
pub fn print(rip: Option<u64>, mut frame_pointer: u64) {
    if let Some(rip) = rip {
        print_line(rip);
    }
    let text = &raw const __text_start as u64..&raw const __text_end as u64;
    // Stacks are aligned to their size, except the boot stack, which lies in the image and ends in zeroes.
    let stack = frame_pointer & !(STACK_SIZE - 1)..(frame_pointer | (STACK_SIZE - 1)) - 15;
    for _ in 0..FRAMES_MAX {
        if !stack.contains(&frame_pointer) || !frame_pointer.is_multiple_of(8) {
            break;
        }
        let frame = frame_pointer as *const [u64; 2];
        // SAFETY: two words within the stack that is in use.
        let [next, return_address] = unsafe { frame.read_volatile() };
        if !text.contains(&return_address) {
            break;
        }
        // The call, not what follows it.
        print_line(return_address - 1);
        if next <= frame_pointer {
            break;
        }
        frame_pointer = next;
    }
}
