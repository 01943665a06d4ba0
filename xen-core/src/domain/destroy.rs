//! Taking a domain apart, in steps (public header domctl.h, XEN_DOMCTL_destroydomain).
//!
//! Destruction stops the vCPUs for good and gives back, in this order, what would be used wrongly if it went later: the
//! grants it mapped, its event channels and interrupts (nobody writes to its pages on behalf of events afterwards), what
//! its vCPUs hold, its memory. Then the domain is dead: toolstacks see it as dying. It stays in the table, with its
//! number, while others still map pages of it, and is forgotten when the last of them lets go.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::xen::{DomId, Virq};

use super::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::Stop;
use crate::pv::mm;

impl<M: Machine> Hypervisor<M> {
    /// Destroys `domain`, which is not the caller's. Destroyed already is success.
    ///
    /// # Errors
    /// Preempted: call again.
    pub fn destroy(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        if domain.ending.lock().dead {
            return Ok(());
        }
        // One processor at a time; another one tries again.
        if domain.teardown.swap(true, Ordering::SeqCst) {
            return Err(Stop::Preempted);
        }
        let result = self.take_apart(domain);
        domain.teardown.store(false, Ordering::SeqCst);
        result
    }

    fn take_apart(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        if domain.ending.lock().dead {
            return Ok(());
        }
        if !domain.ending.lock().dying {
            self.stop_for_good(domain)?;
            domain.ending.lock().dying = true;
            // What was promised to it is there for others.
            let _ = self.mem.claim(&domain.pages, 0);
        }
        self.domains.clear_virq_handler(domain.id);
        self.release_grants(domain)?;
        self.destroy_events(domain)?;
        self.release_irqs(domain);
        for slot in 0..domain.watchdogs.len() {
            self.disarm_watchdog(domain, slot);
        }
        for vcpu in domain.vcpus() {
            self.retire(domain, vcpu)?;
        }
        mm::in_stretches(self, |budget| mm::relinquish_memory(self, domain, budget))?;
        domain.ending.lock().dead = true;
        self.domains.note_dead();
        self.mem.note_leftover_freed();
        self.send_global_virq(Virq::DOM_EXC);
        Ok(())
    }

    /// Takes from a vCPU of a dying domain what it holds.
    fn retire(&self, domain: &Domain, vcpu: &Arc<Vcpu>) -> Result<(), Stop> {
        vcpu.set_flags(VcpuFlags::DOWN);
        vcpu.clear_flags(VcpuFlags::INITIALISED);
        self.retire_vcpu(vcpu);
        // Absent while a context is being set, which takes the rest of that processor's hypercall.
        let mut ctx = vcpu.parked.lock().take().ok_or(Stop::Preempted)?;
        mm::drop_roots(self, &mut ctx);
        *vcpu.parked.lock() = Some(ctx);
        self.stop_singleshot(vcpu);
        self.stop_periodic(vcpu);
        self.set_poll_timeout(vcpu, 0);
        if vcpu.info_registered.swap(false, Ordering::SeqCst) {
            let registered = vcpu.info();
            vcpu.reset_info(domain.first_vcpu_info(vcpu.id));
            if let Some(info) = registered {
                drop(self.mem.adopt_writable(info.mfn));
            }
        }
        Ok(())
    }

    /// Forgets the dead domains that nothing keeps any more, if that may have changed since the last time.
    pub fn forget_dead(&self) {
        if self.domains.any_dead() && self.mem.take_leftover_freed() {
            for id in self.domains.dead() {
                self.forget(id);
            }
        }
    }

    fn forget(&self, id: DomId) {
        let nothing_left = |domain: &Domain| {
            let pages = &domain.pages;
            pages.total_pages() == 0
                && pages.shared_pages() == 1
                && self.mem.references(domain.shared_info) == 1
        };
        let Some(taken) = self.domains.take_dead(id, nothing_left) else {
            return;
        };
        let Some(domain) = taken else {
            // Somebody is just looking at it.
            self.mem.note_leftover_freed();
            return;
        };
        // Nobody can name the domain, so nobody can write to its page or map it, or look into its tables.
        if let Some(hvm) = &domain.hvm {
            hvm.p2m.free(&self.mem);
        }
        self.mem.free_shared(domain.shared_info);
        let closed = self.mem.close_account(id);
        debug_assert!(closed, "a domain that owns frames was forgotten");
        drop(domain);
        self.send_global_virq(Virq::DOM_EXC);
    }
}

#[cfg(test)]
mod tests;
