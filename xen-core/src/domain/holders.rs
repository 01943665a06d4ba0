//! Which references the hypervisor holds on pages of domains beside those of page tables: for the recount.

use super::{Domain, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::irq::PirqOwner;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::mm::audit::Holders;

/// Differences that are printed.
const MAX_LINES: usize = 32;

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
            if let Some(mfn) = self.irqs.eoi_map(PirqOwner::of(&domain)) {
                holders.typed.push((mfn, PageType::Writable));
            }
        }
        holders
    }

    /// Counts all references on all pages of all domains anew and compares them with the records. Returns a line for
    /// each difference. Other processors go on meanwhile: what is different only once was in motion.
    #[must_use]
    pub fn audit_references(&self) -> alloc::vec::Vec<alloc::string::String> {
        let mut lines = self.mem.audit(&self.machine, &self.holders());
        for _ in 0..2 {
            if !lines.is_empty() {
                let again = self.mem.audit(&self.machine, &self.holders());
                lines.retain(|line| again.contains(line));
            }
        }
        lines
    }

    /// The debug key: prints the outcome of [`Hypervisor::audit_references`].
    pub(crate) fn print_audit(&self) {
        let lines = self.audit_references();
        for line in lines.iter().take(MAX_LINES) {
            self.print(format_args!("    {line}"));
        }
        let domains = self.domains.all();
        let pages = domains.iter().fold(0u64, |sum, domain| {
            sum.saturating_add(domain.pages.total_pages())
        });
        self.print(format_args!(
            "Page references: {} domains, {pages} pages, {} differences",
            domains.len(),
            lines.len(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::grant_table::GntmapFlags;
    use hypercall_abi::xen::DomId;

    use crate::machine::Frames;
    use crate::mm::PageType;
    use crate::num::{Pfn, VcpuId};
    use crate::sim::{PvGuest, world};

    #[test]
    fn the_recount_knows_every_holder_and_finds_a_reference_too_many() {
        let hv = world();
        let back = PvGuest::dom0(&hv, 64);
        let front = PvGuest::unprivileged(&hv, 5, 64);
        let page = |pfn| front.mfn(Pfn(pfn));
        // A grant mapped for a device, event queues, and vCPU contexts that run.
        let table = front.domain.grants.frames()[0];
        hv.machine.words(table)[8].store(page(3).0 << 32 | 1, core::sync::atomic::Ordering::SeqCst);
        let mut op =
            <hypercall_abi::grant_table::GnttabMapGrantRef as zerocopy::FromZeros>::new_zeroed();
        (op.dom, op.r#ref, op.flags) = (DomId(5), 8, GntmapFlags::DEVICE_MAP.bits());
        hv.map_grant(&back.domain, None, &mut op);
        assert_eq!(op.status, hypercall_abi::grant_table::GntStatus::OKAY);
        hv.init_control(&front.domain, VcpuId(0), page(4), 64)
            .expect("control block");
        hv.expand_array(&front.domain, page(5)).expect("array");
        assert_eq!(hv.audit_references(), Vec::<String>::new());
        hv.debug_key(b'O');
        let (log, _) = hv.console.read_ring(None, false, usize::MAX);
        let log = String::from_utf8(log).expect("text");
        assert!(
            log.contains("Page references: 2 domains, 128 pages, 0 differences"),
            "{log}"
        );
        // One general reference, one type reference, and more roots than a running vCPU has.
        let leaked = hv.mem.get_page(page(6), DomId(5)).expect("page").into_raw();
        assert_eq!(hv.audit_references().len(), 1);
        drop(hv.mem.adopt_page(leaked));
        let leaked = hv
            .mem
            .get_writable(page(6), DomId(5))
            .expect("page")
            .into_raw();
        assert_eq!(hv.audit_references().len(), 1);
        drop(hv.mem.adopt_writable(leaked));
        let root = front.mfn(front.l4);
        for roots in 2..4 {
            let more = hv.mem.get_page(root, DomId(5)).expect("root").into_raw();
            assert!(hv.mem.get_valid_type(more, PageType::L4));
            let expected = usize::from(roots > 2);
            assert_eq!(hv.audit_references().len(), expected, "{roots} roots");
        }
    }

    extern crate std;
    use std::string::String;
    use std::vec::Vec;
}
