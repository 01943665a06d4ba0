//! Instructions of the hypervisor that may fault, and where to go on when they do.
// UNSAFETY: reads a table that assembly code made.

use super::HypervisorFrame;

/// One entry: two code addresses.
#[repr(C)]
struct Entry {
    faulting: u64,
    fixup: u64,
}

unsafe extern "C" {
    static __extable_start: [Entry; 0];
    static __extable_end: [Entry; 0];
}

fn entries() -> &'static [Entry] {
    let (start, end) = (
        &raw const __extable_start as usize,
        &raw const __extable_end as usize,
    );
    // SAFETY: the linker script puts the assembled pairs between the two symbols.
    unsafe {
        core::slice::from_raw_parts(start as *const Entry, (end - start) / size_of::<Entry>())
    }
}

/// If the interrupted instruction has an entry, makes the frame go on at its fix-up: RDX tells vector and error code,
/// R8 holds what RDX held. False if it has none.
pub fn recover(frame: &mut HypervisorFrame) -> bool {
    let Some(entry) = entries().iter().find(|entry| entry.faulting == frame.rip) else {
        return false;
    };
    frame.rip = entry.fixup;
    frame.r8 = frame.rdx;
    frame.rdx = u64::from(frame.entry_vector) << 32 | u64::from(frame.error_code);
    true
}
