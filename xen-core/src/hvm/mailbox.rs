//! What other processors may put into a vCPU that runs in hardware.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// INIT was sent.
const INIT: u32 = 1 << 9;
/// SIPI was sent; its vector is in the low eight bits.
const SIPI: u32 = 1 << 8;

/// The shared half. All of it may be written by anybody at any time.
#[derive(Debug, Default)]
pub struct HvmMailbox {
    /// Vector of the event upcall (HVMOP_set_evtchn_upcall_vector); 0 = none.
    pub upcall_vector: AtomicU8,
    /// `evtchn_upcall_pending` went from clear to set, and the local APIC has not been told.
    pub upcall: AtomicBool,
    /// Vectors that wait to be entered in the local APIC.
    posted: [AtomicU64; 4],
    /// Of these, the level-triggered ones.
    level: [AtomicU64; 4],
    any: AtomicBool,
    signals: AtomicU32,
    /// [`LapicIdentity`](super::lapic::LapicIdentity) of its local APIC, packed.
    pub identity: AtomicU64,
    /// What is added to the processor's time-stamp counter.
    pub tsc_offset: AtomicU64,
    /// Absolute expiry of the local APIC's timer in ns; 0 = not armed.
    pub lapic_deadline_ns: AtomicU64,
    /// That timer has expired.
    pub lapic_expired: AtomicBool,
}

/// INIT and SIPI that wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// INIT, which comes before the other.
    pub init: bool,
    /// Vector of SIPI.
    pub sipi: Option<u8>,
}

impl HvmMailbox {
    /// Posts an interrupt. The caller wakes or kicks the vCPU.
    pub fn post(&self, vector: u8, level: bool) {
        let (word, bit) = (usize::from(vector / 64), 1u64 << (vector % 64));
        if level {
            self.level[word].fetch_or(bit, Ordering::SeqCst);
        } else {
            self.level[word].fetch_and(!bit, Ordering::SeqCst);
        }
        self.posted[word].fetch_or(bit, Ordering::SeqCst);
        self.any.store(true, Ordering::SeqCst);
    }

    /// Whether something was posted.
    #[must_use]
    pub fn has_posted(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    /// Takes all posted interrupts.
    pub fn take_posted(&self, mut each: impl FnMut(u8, bool)) {
        if !self.any.swap(false, Ordering::SeqCst) {
            return;
        }
        for (index, word) in self.posted.iter().enumerate() {
            let mut bits = word.swap(0, Ordering::SeqCst);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                let level = self.level[index].load(Ordering::SeqCst) & 1 << bit != 0;
                each(index as u8 * 64 + bit as u8, level);
            }
        }
    }

    /// Sends INIT: what was sent before it is forgotten.
    pub fn send_init(&self) {
        self.signals.store(INIT, Ordering::SeqCst);
    }

    /// Sends SIPI.
    pub fn send_sipi(&self, vector: u8) {
        let _ = self
            .signals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| {
                Some(old & INIT | SIPI | u32::from(vector))
            });
    }

    /// Whether INIT or SIPI waits.
    #[must_use]
    pub fn has_signals(&self) -> bool {
        self.signals.load(Ordering::SeqCst) != 0
    }

    /// Takes INIT and SIPI.
    pub fn take_signals(&self) -> Signals {
        let word = self.signals.swap(0, Ordering::SeqCst);
        Signals {
            init: word & INIT != 0,
            sipi: (word & SIPI != 0).then_some(word as u8),
        }
    }
}
