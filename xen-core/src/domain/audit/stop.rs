//! Stopping all processors for an audit, each where nothing is half done: on the way out of the hypervisor.
//!
//! Whoever wants an audit raises a flag and kicks every processor. The first that comes to the way out leads: it waits until
//! the others have come too, each entering what its vCPU holds, and audits; the others wait, answering requests to flush.
//! A processor that does not come in time is not waited for: what its vCPU may hold is let pass.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hypercall_abi::xen::DomId;

use crate::hypervisor::{CpuLocal, Hypervisor};
use crate::machine::{AtomicCpuMask, CpuMask, Machine};
use crate::mm::audit::Holders;
use crate::sync::{Rank, RankedMutex};

/// How long the leader waits for the others.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Who wants an audit, and how far it has come.
#[derive(Debug)]
pub struct AuditRequests {
    wanted: AtomicBool,
    /// A processor leads an audit.
    led: AtomicBool,
    /// Audits that have ended.
    round: AtomicU32,
    /// Processors that wait for the end of the present one.
    arrived: AtomicCpuMask,
    /// What the vCPUs of those hold, by domain.
    held: RankedMutex<Vec<(DomId, Holders)>>,
    /// Hypercalls since the last audit by number.
    calls: AtomicU64,
    /// Audits that found something.
    failures: AtomicU32,
}

impl Default for AuditRequests {
    fn default() -> Self {
        Self {
            wanted: AtomicBool::new(false),
            led: AtomicBool::new(false),
            round: AtomicU32::new(0),
            arrived: AtomicCpuMask::default(),
            held: RankedMutex::new(Rank::Machine, Vec::new()),
            calls: AtomicU64::new(0),
            failures: AtomicU32::new(0),
        }
    }
}

impl AuditRequests {
    /// Audits that found a difference.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Asks for an audit: it is done before any processor goes on with a guest.
    pub fn request_audit(&self) {
        self.audits.wanted.store(true, Ordering::SeqCst);
        for cpu in self.machine.online().iter() {
            self.machine.kick(cpu);
        }
    }

    /// Counts a hypercall; every `audit=N`th asks for an audit.
    pub(crate) fn count_call_for_audit(&self) {
        let every = u64::from(self.options.audit);
        if every != 0 {
            let calls = self.audits.calls.fetch_add(1, Ordering::Relaxed) + 1;
            if calls.is_multiple_of(every) {
                self.request_audit();
            }
        }
    }

    /// Takes part in an audit, if one is wanted. Called on the way out, where no operation is under way.
    pub fn audit_if_due(&self, cpu: &CpuLocal) {
        let audits = &self.audits;
        if !audits.wanted.load(Ordering::Relaxed) {
            return;
        }
        let leads = audits
            .led
            .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        let round = audits.round.load(Ordering::SeqCst);
        if leads && !audits.wanted.load(Ordering::SeqCst) {
            // Another processor's audit ended between the two looks.
            audits.led.store(false, Ordering::SeqCst);
            return;
        }
        if let Some(running) = &cpu.current {
            let mut holders = Holders::default();
            running.ctx.enter_holds(&mut holders);
            let id = running.domain.id;
            audits.held.lock().push((id, holders));
        }
        audits.arrived.insert(cpu.id);
        if leads {
            self.lead_audit(cpu);
        } else {
            while audits.round.load(Ordering::SeqCst) == round
                && audits.wanted.load(Ordering::SeqCst)
            {
                // Lets requests to flush in; what else arrives waits.
                let _ = self.machine.must_yield();
                core::hint::spin_loop();
            }
        }
    }

    fn lead_audit(&self, cpu: &CpuLocal) {
        let audits = &self.audits;
        let online = self.machine.online();
        for other in online.iter().filter(|&other| other != cpu.id) {
            self.machine.kick(other);
        }
        let end = self.machine.now_ns().saturating_add(PATIENCE_NS);
        let all_here = loop {
            let here = audits.arrived.load();
            if online.and(&here) == online {
                break true;
            }
            if self.machine.now_ns() > end {
                break false;
            }
            let _ = self.machine.must_yield();
            core::hint::spin_loop();
        };
        let lines = if all_here {
            let mut holders = self.holders();
            for (id, held) in core::mem::take(&mut *audits.held.lock()) {
                holders.typed.extend(held.typed);
                if let Some(running) = holders.running.get_mut(&id) {
                    *running = running.saturating_sub(1);
                }
            }
            self.audit(&holders)
        } else {
            self.print(format_args!(
                "Audit: not all processors came; they go on meanwhile"
            ));
            audits.held.lock().clear();
            self.audit_in_motion()
        };
        self.report_audit(&lines);
        audits.arrived.store(&CpuMask::EMPTY);
        audits.wanted.store(false, Ordering::SeqCst);
        audits.round.fetch_add(1, Ordering::SeqCst);
        audits.led.store(false, Ordering::SeqCst);
    }

    fn report_audit(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.audits.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.print_findings(lines);
    }
}
