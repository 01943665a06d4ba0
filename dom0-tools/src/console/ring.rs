//! The console ring of a guest, from dom0's side.
//!
//! Contract: `xencons_interface` of public/io/console.h. Indices run freely; the guest may write anything at any time.

use std::mem::offset_of;

use hypercall_abi::io::console::XenconsInterface;

use crate::xen::GuestMemory;

const IN: usize = offset_of!(XenconsInterface, r#in);
const OUT: usize = offset_of!(XenconsInterface, out);
const IN_CONS: usize = offset_of!(XenconsInterface, in_cons);
const IN_PROD: usize = offset_of!(XenconsInterface, in_prod);
const OUT_CONS: usize = offset_of!(XenconsInterface, out_cons);
const OUT_PROD: usize = offset_of!(XenconsInterface, out_prod);
const IN_SIZE: u32 = 1024;
const OUT_SIZE: u32 = 2048;

/// Takes what the guest has written. Nothing if its indices make no sense.
#[must_use]
pub fn take(ring: &dyn GuestMemory) -> Vec<u8> {
    let cons = ring.load_u32(OUT_CONS);
    let prod = ring.load_u32(OUT_PROD);
    let count = prod.wrapping_sub(cons);
    if count == 0 || count > OUT_SIZE {
        return Vec::new();
    }
    let bytes = (0..count)
        .map(|index| ring.load_u8(OUT + (cons.wrapping_add(index) % OUT_SIZE) as usize))
        .collect();
    ring.store_u32(OUT_CONS, prod);
    bytes
}

/// How many bytes the guest has room for.
#[must_use]
pub fn room(ring: &dyn GuestMemory) -> usize {
    let used = ring.load_u32(IN_PROD).wrapping_sub(ring.load_u32(IN_CONS));
    IN_SIZE.saturating_sub(used) as usize
}

/// Gives bytes to the guest; how many it had room for.
pub fn give(ring: &dyn GuestMemory, bytes: &[u8]) -> usize {
    let count = bytes.len().min(room(ring));
    let prod = ring.load_u32(IN_PROD);
    for (index, byte) in (0..).zip(bytes.iter().take(count)) {
        let at = prod.wrapping_add(index) % IN_SIZE;
        ring.store_u8(IN + at as usize, *byte);
    }
    ring.store_u32(IN_PROD, prod.wrapping_add(count as u32));
    count
}
