//! Idle and performance states of processors, as the control domain found them in ACPI's namespace.
//!
//! Idle is HLT, which is state C1 on every processor: the capabilities that the control domain reports to the firmware
//! (`_PDC`) leave MWAIT out, so deeper states are those that the firmware enters by a port. These, and performance
//! states, are kept for whoever asks (debug key `c`), and not entered.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::num::CpuId;
use crate::sync::{Rank, RankedMutex};

/// An idle state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdleState {
    /// C1, C2 or C3.
    pub kind: u8,
    /// Microseconds to wake up.
    pub latency_us: u32,
    /// Milliwatts.
    pub power_mw: u32,
    /// Address space of the register that enters it (ACPI 6.5, 5.2.3.2; 0x7f is an instruction).
    pub space: u32,
    /// Address in it.
    pub address: u64,
}

/// A performance state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerformanceState {
    /// Frequency in MHz.
    pub mhz: u64,
    /// Milliwatts.
    pub power_mw: u64,
}

#[derive(Debug, Default)]
struct Processor {
    idle: Vec<IdleState>,
    performance: Vec<PerformanceState>,
    limit: u32,
}

/// The states of all processors.
#[derive(Debug)]
pub struct PowerStates(RankedMutex<BTreeMap<CpuId, Processor>>);

impl Default for PowerStates {
    fn default() -> Self {
        Self(RankedMutex::new(Rank::Machine, BTreeMap::new()))
    }
}

impl PowerStates {
    /// Enters the idle states of a processor, in place of those known before.
    pub fn set_idle(&self, cpu: CpuId, states: Vec<IdleState>) {
        self.0.lock().entry(cpu).or_default().idle = states;
    }

    /// Enters performance states; none keeps those known before, as does a limit that is not told.
    pub fn set_performance(&self, cpu: CpuId, states: Vec<PerformanceState>, limit: Option<u32>) {
        let mut processors = self.0.lock();
        let processor = processors.entry(cpu).or_default();
        if !states.is_empty() {
            processor.performance = states;
        }
        processor.limit = limit.unwrap_or(processor.limit);
    }

    /// Lines for the debug key.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (cpu, processor) in &*self.0.lock() {
            lines.push(format!("==cpu{}==", cpu.0));
            for (i, state) in (1..).zip(&processor.idle) {
                lines.push(format!(
                    "    C{i}: type[C{}] latency[{:03}] power[{}] method[{}]",
                    state.kind,
                    state.latency_us,
                    state.power_mw,
                    if state.kind == 1 { "HALT" } else { "unused" },
                ));
            }
            for (i, state) in (0..).zip(&processor.performance) {
                let mark = if i == processor.limit { '*' } else { ' ' };
                lines.push(format!(
                    "   {mark}P{i}: [{} MHz] power[{}]",
                    state.mhz, state.power_mw
                ));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn states_are_replaced_and_described() {
        let states = PowerStates::default();
        assert!(states.describe().is_empty());
        let halt = IdleState {
            kind: 1,
            latency_us: 1,
            power_mw: 5,
            space: 0x7f,
            address: 0,
        };
        states.set_idle(CpuId(1), std::vec![halt, IdleState { kind: 2, ..halt }]);
        states.set_idle(CpuId(1), std::vec![halt]);
        let fast = PerformanceState {
            mhz: 2000,
            power_mw: 9,
        };
        states.set_performance(CpuId(1), std::vec![fast, fast], Some(1));
        states.set_performance(CpuId(1), std::vec![], None);
        assert_eq!(
            states.describe(),
            [
                "==cpu1==",
                "    C1: type[C1] latency[001] power[5] method[HALT]",
                "    P0: [2000 MHz] power[9]",
                "   *P1: [2000 MHz] power[9]",
            ]
        );
    }
}
