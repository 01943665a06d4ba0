//! Guests that run in hardware, as the simulated machine has them: what the guest does between an entry and the exit is
//! a script of the test's.

use std::boxed::Box;
use std::fmt;

use hypercall_abi::arch_x86::CpuUserRegs;

use super::SimMachine;
use crate::machine::{HvmCpu, HvmEntry, HvmExit, HvmState, HvmSupport};

/// One run of a guest: changes the state as the guest would, and says why it stopped.
pub struct GuestRun(Box<Behaviour>);

type Behaviour = dyn FnOnce(&HvmEntry, &mut HvmState, &mut CpuUserRegs) -> HvmExit + Send;

impl GuestRun {
    /// A run that does this.
    #[must_use]
    pub fn new(
        run: impl FnOnce(&HvmEntry, &mut HvmState, &mut CpuUserRegs) -> HvmExit + Send + 'static,
    ) -> Self {
        Self(Box::new(run))
    }
}

impl fmt::Debug for GuestRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestRun")
    }
}

impl SimMachine {
    /// Says whether guests can run in hardware.
    pub fn set_hvm_support(&self, support: HvmSupport) {
        self.devices().hvm_support = support;
    }

    /// Adds a run to what the guests do.
    pub fn script_guest(&self, run: GuestRun) {
        self.devices().guest_runs.push_back(run);
    }
}

impl HvmCpu for SimMachine {
    fn hvm_support(&self) -> HvmSupport {
        self.devices().hvm_support
    }

    fn run_hvm(&self, entry: &HvmEntry, state: &mut HvmState, regs: &mut CpuUserRegs) -> HvmExit {
        let Some(run) = self.devices().guest_runs.pop_front() else {
            panic!("a guest runs in hardware, and the test has not said what it does")
        };
        (run.0)(entry, state, regs)
    }

    fn forget_hvm_translations(&self) {}
}
