//! The high-precision event timer of an HVM guest (IA-PC HPET specification 1.0a): 62.5 MHz, three timers.

use hypercall_abi::arch_x86::hvm::save::{HPET_TIMER_NUM, HvmHwHpet, HvmHwHpetTimers};

/// Timers.
pub const TIMERS: usize = HPET_TIMER_NUM;
/// Guest-physical address of the registers.
pub const HPET_BASE: u64 = 0xfed0_0000;
/// Bytes that they take.
pub const HPET_BYTES: u64 = 0x400;

/// Nanoseconds of a count.
const TICK_NS: u64 = 16;
/// The shortest period that is served, in counts: 100 µs.
const LEAST_PERIOD: u64 = 100_000 / TICK_NS;

const CAPABILITIES: u64 = 0x00;
const CONFIG: u64 = 0x10;
const STATUS: u64 = 0x20;
const COUNTER: u64 = 0xf0;
/// First timer; 32 bytes each: configuration, comparator, message route.
const FIRST_TIMER: u64 = 0x100;
const TIMER_BYTES: u64 = 0x20;

/// Period in fs; vendor 8086, legacy route, 64 bits, three timers, revision 1.
const CAPABILITIES_VALUE: u64 = (TICK_NS * 1_000_000) << 32 | 0x8086_a201;
/// CONFIG: counting.
const ENABLED: u64 = 1 << 0;
/// CONFIG: timers 0 and 1 take the place of PIT and clock.
const LEGACY: u64 = 1 << 1;

/// Timer: level-triggered.
const LEVEL: u64 = 1 << 1;
/// Timer: interrupts.
const INTERRUPTS: u64 = 1 << 2;
/// Timer: periodic.
const PERIODIC: u64 = 1 << 3;
/// Timer: the next write to the comparator sets it, and not only the period.
const SET_VALUE: u64 = 1 << 6;
/// Timer: 32 bits are compared.
const BITS_32: u64 = 1 << 8;
/// Timer: place of the route.
const ROUTE_SHIFT: u64 = 9;
const ROUTE: u64 = 0x1f << ROUTE_SHIFT;
/// Timer: what a guest writes.
const TIMER_WRITABLE: u64 = LEVEL | INTERRUPTS | PERIODIC | SET_VALUE | BITS_32 | ROUTE;
/// Timer: periodic and 64 bits are possible; I/O APIC pins 20 to 23 can be chosen.
const TIMER_FIXED: u64 = ROUTES << 32 | 1 << 5 | 1 << 4;
const ROUTES: u64 = 0x00f0_0000;

/// Where a timer's interrupt goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HpetRoute {
    /// In place of PIT (0) or clock (8): that ISA interrupt, as an edge.
    Isa(u8),
    /// An I/O APIC pin.
    Gsi(u8),
    /// A pin that does not exist: nowhere.
    Nowhere,
}

/// What a write changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HpetEffect {
    /// The legacy replacement began or ended.
    pub legacy: Option<bool>,
    /// Timers whose level-triggered interrupt goes down, a bit each.
    pub lowered: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Timer {
    config: u64,
    compare: u64,
    period: u64,
    /// Counter value, not cut to 32 bits, at which it fires next.
    fires_at: Option<u64>,
}

impl Timer {
    const RESET: Self = Self {
        config: TIMER_FIXED,
        compare: u64::MAX,
        period: 0,
        fires_at: None,
    };

    const fn has(&self, bit: u64) -> bool {
        self.config & bit != 0
    }

    const fn cut(&self, value: u64) -> u64 {
        if self.has(BITS_32) {
            value & 0xffff_ffff
        } else {
            value
        }
    }

    /// Sets up the next match after `counter`.
    fn arm(&mut self, counter: u64) {
        let distance = self.cut(self.compare.wrapping_sub(counter));
        self.fires_at = match distance {
            // Just matched: a whole turn, which for 64 bits never comes.
            0 if self.has(BITS_32) => counter.checked_add(1 << 32),
            0 => None,
            _ => counter.checked_add(distance),
        };
    }
}

/// The timer block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hpet {
    config: u64,
    status: u64,
    /// Counter at `base_ns`, or while it stands still.
    base: u64,
    base_ns: u64,
    timers: [Timer; TIMERS],
}

impl Default for Hpet {
    fn default() -> Self {
        Self {
            config: 0,
            status: 0,
            base: 0,
            base_ns: 0,
            timers: [Timer::RESET; TIMERS],
        }
    }
}

impl Hpet {
    const fn counts(&self) -> bool {
        self.config & ENABLED != 0
    }

    const fn counter(&self, now_ns: u64) -> u64 {
        if self.counts() {
            let elapsed = now_ns.saturating_sub(self.base_ns) / TICK_NS;
            self.base.wrapping_add(elapsed)
        } else {
            self.base
        }
    }

    /// Timers 0 and 1 take the place of PIT and clock.
    #[must_use]
    pub const fn is_legacy(&self) -> bool {
        self.config & LEGACY != 0
    }

    /// Reads `width` bytes at `offset` from [`HPET_BASE`]. None: not 4 or 8 aligned bytes in it; all ones.
    #[must_use]
    pub fn read(&self, offset: u64, width: u32, now_ns: u64) -> Option<u64> {
        let shift = place(offset, width)?;
        let value = self.register(offset & !7, now_ns) >> shift;
        Some(if width == 4 {
            value & 0xffff_ffff
        } else {
            value
        })
    }

    fn register(&self, offset: u64, now_ns: u64) -> u64 {
        match offset {
            CAPABILITIES => CAPABILITIES_VALUE,
            CONFIG => self.config,
            STATUS => self.status,
            COUNTER => self.counter(now_ns),
            _ => match timer_at(offset) {
                Some((index, 0)) => self.timers[index].config,
                Some((index, 8)) => self.timers[index].cut(self.timers[index].compare),
                _ => 0,
            },
        }
    }

    /// Writes `width` bytes at `offset`; dropped unless they are 4 or 8 aligned ones. [`deadline`](Self::deadline) may
    /// change.
    pub fn write(&mut self, offset: u64, width: u32, value: u64, now_ns: u64) -> HpetEffect {
        let mut effect = HpetEffect {
            legacy: None,
            lowered: 0,
        };
        let Some(shift) = place(offset, width) else {
            return effect;
        };
        let offset = offset & !7;
        // The half that is not written: status bits are cleared by writing them, so there it is 0.
        let old = match offset {
            STATUS => 0,
            _ => self.register(offset, now_ns),
        };
        let mask = if width == 4 {
            0xffff_ffff << shift
        } else {
            u64::MAX
        };
        let value = (old & !mask) | ((value << shift) & mask);
        match offset {
            CONFIG => self.write_config(value & (ENABLED | LEGACY), now_ns, &mut effect),
            STATUS => {
                let cleared = self.status & value;
                self.status &= !value;
                effect.lowered = cleared as u8;
            }
            COUNTER if !self.counts() => self.base = value,
            _ => match timer_at(offset) {
                Some((index, 0)) => self.write_timer(index, value, now_ns, &mut effect),
                Some((index, 8)) => self.write_comparator(index, value, mask, now_ns),
                _ => {}
            },
        }
        effect
    }

    fn write_config(&mut self, value: u64, now_ns: u64, effect: &mut HpetEffect) {
        let changed = self.config ^ value;
        if changed & ENABLED != 0 {
            self.base = self.counter(now_ns);
            self.base_ns = now_ns;
        }
        self.config = value;
        if changed & LEGACY != 0 {
            effect.legacy = Some(self.is_legacy());
        }
        if changed & ENABLED != 0 && self.counts() {
            for timer in &mut self.timers {
                timer.arm(self.base);
            }
        }
    }

    fn write_timer(&mut self, index: usize, value: u64, now_ns: u64, effect: &mut HpetEffect) {
        let counter = self.counter(now_ns);
        let timer = &mut self.timers[index];
        timer.config = TIMER_FIXED | (value & TIMER_WRITABLE);
        if timer.has(BITS_32) {
            timer.compare &= 0xffff_ffff;
            timer.period &= 0xffff_ffff;
        }
        timer.arm(counter);
        // A line that is not driven any more is down.
        let bit = 1 << index;
        if !timer.has(LEVEL) && self.status & bit != 0 {
            self.status &= !bit;
            effect.lowered |= bit as u8;
        }
    }

    /// One-shot: the match. Periodic: the period; and the first match only if [`SET_VALUE`] announced it. Written in
    /// halves, the other half of the period is that of the comparator's register.
    fn write_comparator(&mut self, index: usize, value: u64, mask: u64, now_ns: u64) {
        let counter = self.counter(now_ns);
        let timer = &mut self.timers[index];
        let value = timer.cut(value);
        let is_low_half = mask & 1 != 0;
        if !timer.has(PERIODIC) || timer.has(SET_VALUE) {
            timer.compare = value;
        }
        if timer.has(PERIODIC) {
            let period = (timer.period & !mask) | (value & mask);
            timer.period = match period {
                0 => 0,
                period => period.max(LEAST_PERIOD),
            };
        }
        // The announcement is for one write of the whole comparator.
        if !is_low_half || mask == u64::MAX || timer.has(BITS_32) {
            timer.config &= !SET_VALUE;
        }
        timer.arm(counter);
    }

    /// When a timer fires next.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if !self.counts() {
            return None;
        }
        let armed = self.timers.iter().filter(|timer| timer.has(INTERRUPTS));
        let first = armed.filter_map(|timer| timer.fires_at).min()?;
        let wait = first.wrapping_sub(self.base).checked_mul(TICK_NS)?;
        self.base_ns.checked_add(wait)
    }

    /// Fires what is due: `fire` gets the timer, its route, and whether it is a level, which stays up until the guest
    /// clears its status. Periods that were missed are one.
    pub fn expired(&mut self, now_ns: u64, mut fire: impl FnMut(usize, HpetRoute, bool)) {
        if !self.counts() {
            return;
        }
        let counter = self.counter(now_ns);
        for index in 0..TIMERS {
            let timer = &mut self.timers[index];
            let Some(at) = timer.fires_at.filter(|&at| at <= counter) else {
                continue;
            };
            if timer.has(PERIODIC) && timer.period != 0 {
                let behind = counter - at;
                let ahead = timer.period - behind % timer.period;
                timer.compare = timer.cut(counter.wrapping_add(ahead));
                timer.fires_at = counter.checked_add(ahead);
            } else {
                timer.arm(counter);
                // A match that was passed late comes again after a turn from the match.
                if !timer.has(BITS_32) {
                    timer.fires_at = None;
                }
            }
            if !timer.has(INTERRUPTS) {
                continue;
            }
            let level = timer.has(LEVEL);
            let route = self.route(index);
            if level {
                self.status |= 1 << index;
            }
            fire(index, route, level && !matches!(route, HpetRoute::Isa(_)));
        }
    }

    /// Where timer `index` interrupts.
    #[must_use]
    pub fn route(&self, index: usize) -> HpetRoute {
        match index {
            0 if self.is_legacy() => HpetRoute::Isa(0),
            1 if self.is_legacy() => HpetRoute::Isa(8),
            _ => {
                let config = self.timers.get(index).map_or(0, |timer| timer.config);
                let pin = config >> ROUTE_SHIFT & 0x1f;
                if ROUTES >> pin & 1 != 0 {
                    HpetRoute::Gsi(pin as u8)
                } else {
                    HpetRoute::Nowhere
                }
            }
        }
    }

    /// The record HPET.
    #[must_use]
    pub fn save(&self, now_ns: u64) -> HvmHwHpet {
        HvmHwHpet {
            capability: CAPABILITIES_VALUE,
            res0: 0,
            config: self.config,
            res1: 0,
            isr: self.status,
            res2: [0; 25],
            mc64: self.counter(now_ns),
            res3: 0,
            timers: self.timers.map(|timer| HvmHwHpetTimers {
                config: timer.config,
                cmp: timer.compare,
                fsb: 0,
                res4: 0,
            }),
            res5: [0; 84],
            period: self.timers.map(|timer| timer.period),
        }
    }

    /// Takes the record HPET; counting goes on from where it was.
    pub fn load(&mut self, record: &HvmHwHpet, now_ns: u64) {
        self.config = record.config & (ENABLED | LEGACY);
        self.status = record.isr & ((1 << TIMERS) - 1);
        self.base = record.mc64;
        self.base_ns = now_ns;
        for (timer, (saved, period)) in
            (self.timers.iter_mut()).zip(record.timers.iter().zip(record.period))
        {
            timer.config = TIMER_FIXED | (saved.config & TIMER_WRITABLE);
            timer.compare = timer.cut(saved.cmp);
            timer.period = match timer.cut(period) {
                0 => 0,
                period => period.max(LEAST_PERIOD),
            };
            timer.arm(self.base);
        }
    }
}

/// The bit of the 64-bit register at which an access starts.
fn place(offset: u64, width: u32) -> Option<u64> {
    let aligned = matches!(width, 4 | 8) && offset.is_multiple_of(width.into());
    (aligned && offset < HPET_BYTES).then_some(offset % 8 * 8)
}

/// The timer at `offset`, and the offset within it.
fn timer_at(offset: u64) -> Option<(usize, u64)> {
    let from_first = offset.checked_sub(FIRST_TIMER)?;
    let index = usize::try_from(from_first / TIMER_BYTES).ok()?;
    (index < TIMERS).then_some((index, from_first % TIMER_BYTES))
}

#[cfg(test)]
mod tests;
