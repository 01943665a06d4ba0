//! The build id: a hash of the image that the linker leaves in an ELF note (XENVER_build_id).
// UNSAFETY: reads what lies between two symbols of the linker script.

use alloc::vec::Vec;

unsafe extern "C" {
    static __build_id_start: [u8; 0];
    static __build_id_end: [u8; 0];
}

/// Header of the note (sizes of name and description, type) and its name, "GNU" with its NUL.
const HEADER: usize = 16;

/// The id; empty if the linker left none.
pub fn read() -> Vec<u8> {
    let start = &raw const __build_id_start as usize;
    let end = &raw const __build_id_end as usize;
    // SAFETY: the linker script puts the note, read-only data of the image, between the two symbols.
    let note = unsafe { core::slice::from_raw_parts(start as *const u8, end - start) };
    note.get(HEADER..).unwrap_or_default().to_vec()
}
