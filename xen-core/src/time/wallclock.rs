//! The wall clock in the shared page: UTC at system time 0.

use core::sync::atomic::{Ordering, fence};

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, WallTime};

/// Word of `shared_info` with `wc_version` and `wc_sec`; `wc_nsec` and `wc_sec_hi` follow.
const VERSION_AND_SECONDS: usize = 3072 / 8;
const NANOS_PER_SEC: u128 = 1_000_000_000;

/// UTC at system time 0, when it is `now` at system time `now_ns`. Times before 1970 become 1970.
#[must_use]
pub fn boot_time(now: WallTime, now_ns: u64) -> WallTime {
    let total = u128::from(now.secs) * NANOS_PER_SEC + u128::from(now.nanos);
    let at_boot = total.saturating_sub(u128::from(now_ns));
    WallTime {
        secs: u64::try_from(at_boot / NANOS_PER_SEC).unwrap_or(u64::MAX),
        nanos: (at_boot % NANOS_PER_SEC) as u32,
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Writes the wall clock, with the domain's offset, to its shared page.
    pub fn publish_wallclock(&self, domain: &Domain) {
        // Held while writing: two writers would spoil the version.
        let base = self.wallclock.lock();
        // The offset is a signed number of seconds.
        let secs = base
            .secs
            .wrapping_add(domain.time_offset_s.load(Ordering::Relaxed));
        let words = self.machine.words(domain.shared_info);
        let [version_and_low, nanos_and_high] =
            [&words[VERSION_AND_SECONDS], &words[VERSION_AND_SECONDS + 1]];
        let old = version_and_low.load(Ordering::Relaxed);
        let odd = (old as u32).wrapping_add(1) | 1;
        version_and_low.store((old & !0xffff_ffff) | u64::from(odd), Ordering::Release);
        fence(Ordering::Release);
        nanos_and_high.store(
            u64::from(base.nanos) | (secs >> 32) << 32,
            Ordering::Relaxed,
        );
        version_and_low.store(u64::from(odd) | secs << 32, Ordering::Relaxed);
        version_and_low.store(
            u64::from(odd.wrapping_add(1)) | secs << 32,
            Ordering::Release,
        );
    }

    /// Sets the wall clock: it was `now` at system time `at_ns` (platform_op settime). Every domain is told.
    pub fn set_wallclock(&self, now: WallTime, at_ns: u64) {
        *self.wallclock.lock() = boot_time(now, at_ns);
        for domain in self.domains.all() {
            self.publish_wallclock(&domain);
        }
    }
}
