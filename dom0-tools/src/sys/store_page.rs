//! A xenstore ring page mapped into this process.
#![expect(unsafe_code, reason = "atomics in a mapping")]

use std::sync::atomic::{AtomicU8, AtomicU32};

use hypercall_abi::io::xs_wire::{RING_SIZE, XenstoreDomainInterface};

use super::mapping::Mapping;
use crate::xenstored::platform::{Page, WORDS};

const _: () = assert!(size_of::<XenstoreDomainInterface>() == 2 * RING_SIZE + 4 * WORDS);

/// The mapping; it ends with the value.
#[derive(Debug)]
pub struct RingPage(Mapping);

impl RingPage {
    /// The ring in `page`, a page that is mapped writable.
    #[must_use]
    pub fn new(page: Mapping) -> Self {
        Self(page)
    }

    fn part<T>(&self, offset: usize) -> &T {
        // SAFETY: the mapping lives as long as `self`, the callers ask for parts at aligned offsets, which `at` checks to lie in it,
        // and T is made of atomics, for which any bytes are valid and which others may change.
        unsafe { self.0.at(offset, size_of::<T>()).cast::<T>().as_ref() }
    }
}

impl Page for RingPage {
    fn requests(&self) -> &[AtomicU8; RING_SIZE] {
        self.part(0)
    }

    fn responses(&self) -> &[AtomicU8; RING_SIZE] {
        self.part(RING_SIZE)
    }

    fn words(&self) -> &[AtomicU32; WORDS] {
        self.part(2 * RING_SIZE)
    }
}
