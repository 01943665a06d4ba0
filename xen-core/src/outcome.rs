//! How an operation on behalf of a guest ends.

use hypercall_abi::errno::Errno;

/// Why a service stopped before it was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The guest asked for something that the contract refuses.
    Fail(Errno),
    /// The processor has something more urgent to do: continue later from the recorded state.
    Preempted,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Fail(errno)
    }
}

/// The up to six argument registers of a hypercall, in ABI order (rdi, rsi, rdx, r10, r8, r9).
pub type RawArgs = [u64; 6];

/// How a hypercall ends when it did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Finished; the value goes to RAX.
    Done(u64),
    /// Preempted: execute the same hypercall again with these arguments, after the more urgent work.
    Again(RawArgs),
    /// The guest's registers were replaced (iret) or the vCPU does not go on: RAX must not be touched.
    NoReturn,
}

/// What a hypercall handler returns.
pub type HypercallResult = Result<Outcome, Stop>;

/// A number of work items that may be done before the processor looks up again.
///
/// Sized so that no stretch with interrupts off exceeds the bound S8 of the security goals (20 k instructions).
#[derive(Debug)]
pub struct Budget {
    left: u32,
}

impl Budget {
    /// A budget for `items` items.
    #[must_use]
    pub const fn new(items: u32) -> Self {
        Self { left: items }
    }

    /// Enough for any single bounded operation: for callers that cannot be preempted.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { left: u32::MAX }
    }

    /// Spends `items`; false when the budget does not cover them any more.
    #[must_use]
    pub fn spend(&mut self, items: u32) -> bool {
        if self.left == u32::MAX {
            return true;
        }
        match self.left.checked_sub(items) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}
