//! `io/ring.h`: rings of requests and responses in a granted page. The producer and consumer indices run freely; entry `i` is at `i` modulo the
//! ring size.

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Log2 of the bytes of a page of a flexible ring.
        PAGE_SHIFT: u32 = 12,
    }
}

/// `RING_IDX`: a free-running index.
pub type RingIdx = u32;

/// Bytes of a ring's page before its entries.
pub const SRING_HEADER_SIZE: usize = 64;

/// `__CONST_RING_SIZE`: entries of `entry_size` bytes in a ring of `bytes`: as many as fit behind the header, rounded down to a power of two.
#[doc(alias = "__CONST_RING_SIZE")]
#[must_use]
pub const fn ring_size(bytes: usize, entry_size: usize) -> u32 {
    let fit = match bytes
        .saturating_sub(SRING_HEADER_SIZE)
        .checked_div(entry_size)
    {
        Some(fit) => fit,
        None => 0,
    };
    match fit.checked_ilog2() {
        Some(log) => 1 << log,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::ring_size;
    use crate::io::blkif::BlkifSringEntry;
    use crate::io::netif::{NetifRxSringEntry, NetifTxSringEntry};

    #[test]
    fn a_page_holds_as_many_entries_as_the_drivers_expect() {
        assert_eq!(ring_size(4096, size_of::<BlkifSringEntry>()), 32);
        assert_eq!(ring_size(4096, size_of::<NetifTxSringEntry>()), 256);
        assert_eq!(ring_size(4096, size_of::<NetifRxSringEntry>()), 256);
        assert_eq!(ring_size(0, 8), 0);
        assert_eq!(ring_size(4096, 0), 0);
    }
}

layout_entries! { types: [], constants: [CONSTANTS] }
