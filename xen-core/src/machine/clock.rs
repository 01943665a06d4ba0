//! Time of the machine.

/// How TSC ticks become nanoseconds: `ns = (ticks << shift or >> -shift) * mul >> 32`, as guests compute it
/// (public header xen.h, `struct vcpu_time_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TscScale {
    /// 32.32 fixed-point multiplier; never 0 for a counter that counts.
    pub mul: u32,
    /// Shift applied before the multiplication; negative means right.
    pub shift: i8,
}

/// Wall-clock time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WallTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub secs: u64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

/// Clocks and the deadline timer of each processor.
pub trait Clock {
    /// Nanoseconds since boot, monotonic and equal on all processors (the ABI's "system time").
    fn now_ns(&self) -> u64;

    /// The time-stamp counter.
    fn tsc(&self) -> u64;

    /// Frequency of the time-stamp counter in kHz.
    fn tsc_khz(&self) -> u64;

    /// The scale of the time-stamp counter.
    fn tsc_scale(&self) -> TscScale;

    /// A pair (TSC value, system time in ns) taken together: base for extrapolation.
    fn time_base(&self) -> (u64, u64);

    /// Whether the counter never stops or changes speed and is synchronised over all processors (CPUID
    /// 0x80000007 EDX bit 8).
    fn tsc_is_reliable(&self) -> bool;

    /// Programs this processor's timer to interrupt at absolute system time `deadline_ns` (at once if past);
    /// `None` disarms it. The interrupt arrives as [`TIMER_VECTOR`](crate::irq::TIMER_VECTOR).
    fn set_deadline(&self, deadline_ns: Option<u64>);

    /// The battery-backed clock.
    fn read_wallclock(&self) -> WallTime;
}
