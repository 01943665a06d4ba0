//! Which references the hypervisor holds on pages of domains beside those of page tables: for the recount.

use crate::domain::{Domain, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::irq::PirqOwner;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::mm::audit::Holders;

impl VcpuCtx {
    /// Enters the roots and descriptor pages that this context holds.
    pub fn enter_holds(&self, holders: &mut Holders) {
        let roots = [self.kernel_root, self.user_root].into_iter().flatten();
        holders.typed.extend(roots.map(|mfn| (mfn, PageType::L4)));
        let descriptors = self.gdt.frames.iter().chain(&self.ldt.shadow).flatten();
        holders
            .typed
            .extend(descriptors.map(|&mfn| (mfn, PageType::SegDesc)));
    }
}

impl Domain {
    /// Enters what vCPUs, ports and grants hold. Contexts of running vCPUs cannot be looked into and are only counted.
    fn enter_holds(&self, holders: &mut Holders) {
        for vcpu in self.vcpus() {
            match vcpu.parked.lock().as_ref() {
                Some(ctx) => ctx.enter_holds(holders),
                None => *holders.running.entry(self.id).or_default() += 1,
            }
            let registered = vcpu
                .info_registered
                .load(core::sync::atomic::Ordering::SeqCst);
            if let Some(info) = vcpu.info().filter(|_| registered) {
                holders.typed.push((info.mfn, PageType::Writable));
            }
        }
        let events = self.events.frames();
        holders
            .typed
            .extend(events.into_iter().map(|mfn| (mfn, PageType::Writable)));
        for (mfn, write) in self.grants.device_mappings() {
            if write {
                holders.typed.push((mfn, PageType::Writable));
            } else {
                holders.general.push(mfn);
            }
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// The references that are not in page tables.
    #[must_use]
    pub fn holders(&self) -> Holders {
        let mut holders = Holders::default();
        for domain in self.domains.all() {
            domain.enter_holds(&mut holders);
            if domain.privileges.control {
                holders.control.push(domain.id);
            }
            if let Some(mfn) = self.irqs.eoi_map(PirqOwner::of(&domain)) {
                holders.typed.push((mfn, PageType::Writable));
            }
        }
        holders
    }
}
