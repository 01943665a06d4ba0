//! Pages to experiment with: page aligned, mapped for reading and writing, and nobody else's.
// UNSAFETY: memory that is handed out by address.
#![expect(unsafe_code, reason = "raw pages")]

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

use pv_guest_shim::mmu;

const COUNT: usize = 256;

#[repr(C, align(4096))]
struct Pool(UnsafeCell<[[u64; 512]; COUNT]>);

// SAFETY: each page is handed out once, and accessed volatilely by address.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool(UnsafeCell::new([[0; 512]; COUNT]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// The address of a zeroed page that nobody has.
pub fn take() -> u64 {
    let index = USED.fetch_add(1, Ordering::Relaxed);
    assert!(index < COUNT, "out of pages");
    POOL.0.get() as u64 + index as u64 * mmu::PAGE_SIZE
}

/// Reads a word, which must be mapped.
pub fn read<T: Copy + zerocopy::FromBytes>(address: u64) -> T {
    // SAFETY: the callers read pages of the pool or page tables, which are mapped, and any bytes are valid.
    unsafe { ptr::read_volatile(address as *const T) }
}

/// Writes a word of a page of the pool.
pub fn write<T: Copy + zerocopy::IntoBytes>(address: u64, value: T) {
    let pool = POOL.0.get() as u64;
    assert!(address >= pool && address < pool + COUNT as u64 * mmu::PAGE_SIZE);
    // SAFETY: inside the pool, which is accessed by address only.
    unsafe { ptr::write_volatile(address as *mut T, value) }
}
