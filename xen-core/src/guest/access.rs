//! TRUSTED: no copy reaches the hypervisor's part of the address space (XSA-212).
//!
//! Typed copies through the address space that is loaded. Every structure is copied once, acted on as a copy, and
//! only documented output fields are copied back. No lock may be held across a copy.

use alloc::vec;
use alloc::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::machine::GuestMemory;
use crate::num::is_canonical;

/// First address that belongs to the hypervisor (HYPERVISOR_VIRT_START).
pub const HYPERVISOR_START: u64 = 0xffff_8000_0000_0000;
/// First address after the hypervisor's part (HYPERVISOR_VIRT_END).
pub const HYPERVISOR_END: u64 = 0xffff_8800_0000_0000;

/// Whether a guest may name this address: canonical and outside the hypervisor's part.
#[must_use]
pub const fn is_guest_address(addr: u64) -> bool {
    is_canonical(addr) && !(addr >= HYPERVISOR_START && addr < HYPERVISOR_END)
}

/// Whether a range of `len` bytes lies wholly in one guest part of the address space.
#[must_use]
pub const fn is_guest_range(addr: u64, len: u64) -> bool {
    if len == 0 {
        return true;
    }
    let Some(last) = addr.checked_add(len - 1) else {
        return false;
    };
    is_guest_address(addr)
        && is_guest_address(last)
        && (addr < HYPERVISOR_START) == (last < HYPERVISOR_START)
}

/// Typed guest copies.
pub trait GuestAccess: GuestMemory {
    /// Whether the guest may name a range. One whose addresses the hardware translates shares none of its address space
    /// with the hypervisor.
    fn is_range(&self, addr: u64, len: u64) -> bool {
        if self.guest_view().is_some() {
            len == 0 || addr.checked_add(len - 1).is_some()
        } else {
            is_guest_range(addr, len)
        }
    }

    /// Address of an element of an array.
    ///
    /// # Errors
    /// `EFAULT`.
    fn element<T>(&self, handle: GuestHandle<T>, index: u64) -> Result<u64, Errno> {
        let addr = element_addr(handle, index)?;
        if self.is_range(addr, size_of::<T>() as u64) {
            Ok(addr)
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// `EFAULT` if the memory is not the guest's or not mapped.
    fn read<T: FromBytes + IntoBytes>(&self, handle: GuestHandle<T>) -> Result<T, Errno> {
        self.read_at(handle, 0)
    }

    /// Reads element `index` of an array.
    ///
    /// # Errors
    /// `EFAULT`, also if the element's address overflows.
    fn read_at<T: FromBytes + IntoBytes>(
        &self,
        handle: GuestHandle<T>,
        index: u64,
    ) -> Result<T, Errno> {
        let addr = self.element(handle, index)?;
        let mut value = T::new_zeroed();
        self.copy_from_guest(addr, value.as_mut_bytes())
            .map_err(|_| Errno::EFAULT)?;
        Ok(value)
    }

    /// Writes one value.
    ///
    /// # Errors
    /// `EFAULT` if the memory is not the guest's, not mapped or read-only.
    fn write<T: IntoBytes + Immutable>(
        &self,
        handle: GuestHandle<T>,
        value: &T,
    ) -> Result<(), Errno> {
        self.write_at(handle, 0, value)
    }

    /// Writes element `index` of an array.
    ///
    /// # Errors
    /// `EFAULT`, also if the element's address overflows.
    fn write_at<T: IntoBytes + Immutable>(
        &self,
        handle: GuestHandle<T>,
        index: u64,
        value: &T,
    ) -> Result<(), Errno> {
        let addr = self.element(handle, index)?;
        self.copy_to_guest(addr, value.as_bytes())
            .map_err(|_| Errno::EFAULT)
    }

    /// Reads bytes at a raw address.
    ///
    /// # Errors
    /// `EFAULT`.
    fn read_bytes(&self, addr: u64, buf: &mut [u8]) -> Result<(), Errno> {
        if !self.is_range(addr, buf.len() as u64) {
            return Err(Errno::EFAULT);
        }
        self.copy_from_guest(addr, buf).map_err(|_| Errno::EFAULT)
    }

    /// Writes bytes at a raw address.
    ///
    /// # Errors
    /// `EFAULT`.
    fn write_bytes(&self, addr: u64, buf: &[u8]) -> Result<(), Errno> {
        if !self.is_range(addr, buf.len() as u64) {
            return Err(Errno::EFAULT);
        }
        self.copy_to_guest(addr, buf).map_err(|_| Errno::EFAULT)
    }

    /// Reads a bitmap of `bits` bits as whole words; bits beyond the end are zero. `bits` must be bounded by the
    /// caller.
    ///
    /// # Errors
    /// `EFAULT`.
    fn read_bitmap(&self, addr: u64, bits: u32) -> Result<Vec<u64>, Errno> {
        let bytes = bits.div_ceil(8) as usize;
        let mut raw = vec![0u8; bytes.div_ceil(8) * 8];
        self.read_bytes(addr, &mut raw[..bytes])?;
        if let Some(last) = raw[..bytes].last_mut().filter(|_| !bits.is_multiple_of(8)) {
            *last &= (1u8 << (bits % 8)) - 1;
        }
        Ok(raw
            .chunks_exact(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect())
    }
}

impl<G: GuestMemory + ?Sized> GuestAccess for G {}

fn element_addr<T>(handle: GuestHandle<T>, index: u64) -> Result<u64, Errno> {
    index
        .checked_mul(size_of::<T>() as u64)
        .and_then(|offset| handle.addr().checked_add(offset))
        .ok_or(Errno::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hypervisor_hole_is_refused_at_both_edges() {
        assert!(is_guest_range(HYPERVISOR_END, 8));
        assert!(!is_guest_range(HYPERVISOR_END - 8, 16));
        assert!(!is_guest_range(HYPERVISOR_START, 1));
        assert!(!is_guest_range(0x7fff_ffff_fff8, 16));
        assert!(!is_guest_range(u64::MAX - 3, 8));
        assert!(!is_guest_range(0x7fff_ffff_f000, HYPERVISOR_END));
        assert!(is_guest_range(0, 0x7fff_ffff_ffff));
    }

    #[test]
    fn an_index_that_overflows_is_a_fault() {
        let handle = GuestHandle::<u64>::from_addr(0x1000);
        assert_eq!(element_addr(handle, u64::MAX / 8), Err(Errno::EFAULT));
        assert_eq!(element_addr(handle, 2), Ok(0x1010));
    }
}
