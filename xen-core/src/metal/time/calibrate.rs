//! How fast the time-stamp counter and the local APIC's timer run, measured against a counter whose rate is known.

use xen_core::acpi::AcpiFacts;
use xen_core::boot::options::ClockSource;

use super::hpet::Hpet;
use super::pit::{self, Pit};
use super::pm_timer::{self, PmTimer};
use super::tsc;
use crate::metal::irq::lapic;

/// A counter whose rate is known.
enum Reference {
    Hpet(Hpet),
    PmTimer(PmTimer),
    Pit(Pit),
}

/// Length of one measurement. Shorter than a round of every reference's counter (the timer's: 55 ms).
const MEASURED_MS: u64 = 20;
/// Measurements, of which the middle one counts: an emulator or firmware may pause the machine during one.
const MEASUREMENTS: usize = 3;
/// How often a reference is read before it is given up as standing still.
const READS_MAX: u32 = 50_000_000;

impl Reference {
    /// The reference asked for, or the best there is.
    fn choose(acpi: &AcpiFacts, wanted: Option<ClockSource>) -> Self {
        let hpet = || acpi.hpet.as_ref().and_then(Hpet::start).map(Self::Hpet);
        let pm_timer = || {
            acpi.fadt
                .as_ref()
                .and_then(PmTimer::start)
                .map(Self::PmTimer)
        };
        let pit = || Some(Self::Pit(Pit::start()));
        let chosen = match wanted {
            Some(ClockSource::Hpet) => hpet(),
            Some(ClockSource::AcpiPm) => pm_timer(),
            Some(ClockSource::Pit) => pit(),
            Some(ClockSource::Tsc) | None => None,
        };
        chosen
            .or_else(hpet)
            .or_else(pm_timer)
            .unwrap_or_else(|| Self::Pit(Pit::start()))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Hpet(_) => "HPET",
            Self::PmTimer(_) => "ACPI PM timer",
            Self::Pit(_) => "PIT",
        }
    }

    fn hz(&self) -> u64 {
        match self {
            Self::Hpet(hpet) => hpet.hz(),
            Self::PmTimer(_) => pm_timer::HZ,
            Self::Pit(_) => pit::HZ,
        }
    }

    fn count(&self) -> u32 {
        match self {
            Self::Hpet(hpet) => hpet.count(),
            Self::PmTimer(timer) => timer.count(),
            Self::Pit(timer) => timer.count(),
        }
    }

    /// Bits that the counter has.
    fn mask(&self) -> u32 {
        match self {
            Self::Hpet(_) => u32::MAX,
            Self::PmTimer(_) => pm_timer::MASK,
            Self::Pit(_) => 0xffff,
        }
    }

    fn restart(&mut self) {
        if let Self::Pit(timer) = self {
            *timer = Pit::start();
        }
    }
}

/// Rates of the processor's counters.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Of the time-stamp counter, in hertz.
    pub tsc_hz: u64,
    /// Of the local APIC's timer, in hertz.
    pub apic_hz: u64,
}

/// One measurement: both rates over the same time.
fn measure(reference: &mut Reference) -> Rates {
    reference.restart();
    let ticks_wanted = (reference.hz() * MEASURED_MS / 1000) as u32;
    let first = reference.count();
    let tsc_first = tsc::read();
    let apic_first = lapic::timer_count();
    for _ in 0..READS_MAX {
        let ticks = reference.count().wrapping_sub(first) & reference.mask();
        if ticks < ticks_wanted {
            continue;
        }
        let tsc_ticks = tsc::read().wrapping_sub(tsc_first);
        let apic_ticks = u64::from(apic_first.wrapping_sub(lapic::timer_count()));
        let rate = |count: u64| {
            (u128::from(count) * u128::from(reference.hz()) / u128::from(ticks)) as u64
        };
        return Rates {
            tsc_hz: rate(tsc_ticks),
            apic_hz: rate(apic_ticks),
        };
    }
    panic!("the {} does not count", reference.name());
}

/// Measures both rates. The local APIC must be on.
pub fn measure_rates(acpi: &AcpiFacts, wanted: Option<ClockSource>) -> Rates {
    let mut reference = Reference::choose(acpi, wanted);
    lapic::start_free_running_timer();
    let mut all: [Rates; MEASUREMENTS] = core::array::from_fn(|_| measure(&mut reference));
    all.sort_unstable_by_key(|rates| rates.tsc_hz);
    let tsc_hz = all[MEASUREMENTS / 2].tsc_hz;
    all.sort_unstable_by_key(|rates| rates.apic_hz);
    let apic_hz = all[MEASUREMENTS / 2].apic_hz;
    assert!(
        tsc_hz >= 1_000_000 && apic_hz >= 1_000,
        "no usable timer: TSC {tsc_hz} Hz, APIC {apic_hz} Hz"
    );
    let (mhz, khz) = (tsc_hz / 1_000_000, tsc_hz / 1000 % 1000);
    log::info!(
        "Processor counts {mhz}.{khz:03} MHz, measured by {}; APIC timer {} kHz",
        reference.name(),
        apic_hz / 1000
    );
    Rates { tsc_hz, apic_hz }
}
