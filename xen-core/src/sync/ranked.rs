//! A spin lock that knows its place in the lock order.

use core::ops::{Deref, DerefMut};

use super::{Rank, stats};

/// A mutual-exclusion lock of a given [`Rank`].
#[derive(Debug)]
pub struct RankedMutex<T> {
    rank: Rank,
    inner: spin::Mutex<T>,
}

/// Proof that a [`RankedMutex`] is held.
#[derive(Debug)]
pub struct RankedGuard<'a, T> {
    inner: spin::MutexGuard<'a, T>,
    _order: order::Held,
}

impl<T> RankedMutex<T> {
    /// A lock around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self {
            rank,
            inner: spin::Mutex::new(value),
        }
    }

    /// Takes the lock, spinning.
    pub fn lock(&self) -> RankedGuard<'_, T> {
        let order = order::Held::acquire(self.rank, false);
        RankedGuard {
            inner: self.spin(),
            _order: order,
        }
    }

    fn spin(&self) -> spin::MutexGuard<'_, T> {
        let mut spins = 0;
        loop {
            if let Some(guard) = self.inner.try_lock() {
                stats::taken(self.rank, spins);
                return guard;
            }
            while self.inner.is_locked() {
                spins += 1;
                core::hint::spin_loop();
            }
        }
    }

    /// Takes a second lock of the same rank: the caller follows the order documented for the pair.
    pub fn lock_second(&self) -> RankedGuard<'_, T> {
        let order = order::Held::acquire(self.rank, true);
        RankedGuard {
            inner: self.spin(),
            _order: order,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<RankedGuard<'_, T>> {
        let inner = self.inner.try_lock()?;
        stats::taken(self.rank, 0);
        Some(RankedGuard {
            inner,
            _order: order::Held::acquire(self.rank, true),
        })
    }

    /// The value, when nobody else can hold the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T> Deref for RankedGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for RankedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// The check of the order, where there are threads to keep books for.
#[cfg(not(target_os = "none"))]
mod order {
    extern crate std;

    use std::cell::RefCell;
    use std::vec::Vec;

    use super::Rank;

    std::thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    pub(super) struct Held(Rank);

    impl Held {
        pub(super) fn acquire(rank: Rank, second: bool) -> Self {
            HELD.with_borrow_mut(|held| {
                if let Some(&top) = held.iter().max() {
                    let fine = top < rank || (second && top == rank);
                    assert!(fine, "lock order: {rank:?} taken while {top:?} is held");
                }
                held.push(rank);
            });
            Self(rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            HELD.with_borrow_mut(|held| {
                if let Some(at) = held.iter().rposition(|&rank| rank == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

/// On the machine itself the order costs nothing.
#[cfg(target_os = "none")]
mod order {
    use super::Rank;

    #[derive(Debug)]
    pub(super) struct Held;

    impl Held {
        pub(super) fn acquire(_rank: Rank, _second: bool) -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_order_is_allowed() {
        let low = RankedMutex::new(Rank::Grant, 1);
        let high = RankedMutex::new(Rank::Buddy, 2);
        let a = low.lock();
        let b = high.lock();
        assert_eq!(*a + *b, 3);
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn descending_order_is_caught() {
        let low = RankedMutex::new(Rank::Grant, 1);
        let high = RankedMutex::new(Rank::Buddy, 2);
        let _b = high.lock();
        let _a = low.lock();
    }
}
