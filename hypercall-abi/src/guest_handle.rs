//! `XEN_GUEST_HANDLE(T)` of `arch-x86/xen.h`: where in its own address space a guest keeps an array of `T`.

use core::fmt;
use core::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A guest's claim that an array of `T` lies at a virtual address of its own. Nothing is checked and nothing can be read through it:
/// access belongs to the hypervisor's guest-memory code.
#[doc(alias = "XEN_GUEST_HANDLE")]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct GuestHandle<T> {
    address: u64,
    element: PhantomData<fn() -> T>,
}

impl<T> GuestHandle<T> {
    /// A handle that points at nothing, as an absent buffer is written.
    #[must_use]
    pub const fn null() -> Self {
        Self::from_addr(0)
    }

    /// A handle to the guest virtual address `address`.
    #[must_use]
    pub const fn from_addr(address: u64) -> Self {
        Self {
            address,
            element: PhantomData,
        }
    }

    /// The guest virtual address of the first element.
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.address
    }

    /// Whether the buffer is absent.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The same address with another element type.
    #[must_use]
    pub const fn cast<U>(self) -> GuestHandle<U> {
        GuestHandle::from_addr(self.address)
    }

    /// Guest virtual address of element `index`; `None` if it would wrap around the address space.
    #[must_use]
    pub const fn offset(self, index: u64) -> Option<u64> {
        match index.checked_mul(size_of::<T>() as u64) {
            Some(bytes) => self.address.checked_add(bytes),
            None => None,
        }
    }
}

impl<T> Clone for GuestHandle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GuestHandle<T> {}

impl<T> PartialEq for GuestHandle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for GuestHandle<T> {}

impl<T> fmt::Debug for GuestHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestHandle({:#x})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_counts_elements_and_refuses_to_wrap() {
        let handle = GuestHandle::<u64>::from_addr(0x1000);
        assert_eq!(handle.offset(3), Some(0x1018));
        assert_eq!(handle.offset(u64::MAX / 4), None);
        assert_eq!(GuestHandle::<u8>::from_addr(u64::MAX).offset(1), None);
        assert_eq!(
            GuestHandle::<u8>::from_addr(u64::MAX).offset(0),
            Some(u64::MAX)
        );
    }

    #[test]
    fn null_survives_a_cast() {
        assert!(GuestHandle::<u64>::null().cast::<u8>().is_null());
        assert!(!GuestHandle::<u64>::from_addr(8).is_null());
    }
}
