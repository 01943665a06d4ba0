//! Switches on STAC and CLAC: three-byte NOPs in the entry code become the instructions before the text is mapped
//! read-only.
// UNSAFETY: writes code.

const CLAC: [u8; 3] = [0x0f, 0x01, 0xca];
const STAC: [u8; 3] = [0x0f, 0x01, 0xcb];

unsafe extern "C" {
    static __clac_sites_start: [u64; 0];
    static __clac_sites_end: [u64; 0];
    static __stac_sites_start: [u64; 0];
    static __stac_sites_end: [u64; 0];
}

/// Patches all sites.
///
/// # Safety
/// The text must still be mapped writable, and no other CPU may run.
pub unsafe fn enable_smap_instructions() {
    let lists = [
        (
            &raw const __clac_sites_start,
            &raw const __clac_sites_end,
            CLAC,
        ),
        (
            &raw const __stac_sites_start,
            &raw const __stac_sites_end,
            STAC,
        ),
    ];
    for (start, end, instruction) in lists {
        let count = (end as usize - start as usize) / size_of::<u64>();
        // SAFETY: the linker script puts the assembled addresses between the two symbols.
        let sites = unsafe { core::slice::from_raw_parts(start.cast::<u64>(), count) };
        for &site in sites {
            // SAFETY: each address is that of a three-byte NOP in the text, writable by the caller's promise.
            unsafe { (site as *mut [u8; 3]).write_volatile(instruction) };
        }
    }
}
