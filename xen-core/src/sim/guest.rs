//! A scripted PV guest: memory, page tables with a direct map, one vCPU that issues hypercalls.

use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec::Vec;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::SimMachine;
use crate::domain::{Domain, Privileges, Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Cpus, Flush, Frames, GuestFault, GuestMemory, PvCpu};
use crate::mm::audit::Holders;
use crate::mm::{AllocOptions, PageType};
use crate::num::{CpuId, Mfn, PAGE_SIZE, Pfn, VcpuId};
use crate::outcome::Budget;
use crate::pv::mm;
use crate::pv::mm::entry;

/// Where the guest sees its memory: L4 slot 273, as Linux.
pub const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// Continuations after which a hypercall counts as stuck.
const PATIENCE: u32 = 1_000_000;

/// A guest. Its page tables are its highest frames; the direct map shows everything writable but those.
#[derive(Debug)]
pub struct PvGuest {
    /// The domain.
    pub domain: Arc<Domain>,
    /// Its one vCPU.
    pub vcpu: Arc<Vcpu>,
    /// The vCPU's private half.
    pub ctx: Box<VcpuCtx>,
    /// The vCPU's registers.
    pub regs: Box<CpuUserRegs>,
    /// MFN by PFN, as built.
    pub frames: Vec<Mfn>,
    /// PFN of the L4 table.
    pub l4: Pfn,
    /// PFNs of the L1 tables of the direct map, in order.
    pub l1: Vec<Pfn>,
    /// The processor it runs on.
    pub cpu: CpuId,
}

impl PvGuest {
    /// Builds a domain of `pages` pages and lets it run on processor 0.
    ///
    /// # Panics
    /// When the simulated machine is too small.
    #[must_use]
    pub fn new(hv: &Hypervisor<SimMachine>, id: DomId, privileges: Privileges, pages: u64) -> Self {
        let domain = super::world::new_domain(hv, id, privileges);
        let mut frames = Vec::new();
        for pfn in 0..pages {
            let mfn = hv
                .mem
                .allocate(&hv.machine, &domain.pages, 0, AllocOptions::default())
                .expect("sim: memory for the guest");
            hv.machine
                .m2p(mfn)
                .expect("sim: M2P")
                .store(pfn, Ordering::Relaxed);
            frames.push(mfn);
        }
        let vcpu = super::world::new_vcpu(hv, &domain, VcpuId(0));
        let ctx = vcpu.parked.lock().take().expect("sim: context");
        let mut guest = Self {
            domain,
            vcpu,
            ctx,
            regs: Box::new(CpuUserRegs::new_zeroed()),
            frames,
            l4: Pfn(pages - 1),
            l1: Vec::new(),
            cpu: CpuId(0),
        };
        guest.build_tables(hv, pages);
        guest.run_on(hv, CpuId(0));
        guest
    }

    /// An ordinary guest.
    #[must_use]
    pub fn unprivileged(hv: &Hypervisor<SimMachine>, id: u16, pages: u64) -> Self {
        Self::new(hv, DomId(id), Privileges::default(), pages)
    }

    /// A guest with all rights.
    #[must_use]
    pub fn dom0(hv: &Hypervisor<SimMachine>, pages: u64) -> Self {
        Self::new(
            hv,
            DomId(0),
            Privileges {
                control: true,
                hardware: true,
                xenstore: false,
            },
            pages,
        )
    }

    fn build_tables(&mut self, hv: &Hypervisor<SimMachine>, pages: u64) {
        let l1_count = pages.div_ceil(512);
        let first_table = pages - 3 - l1_count;
        let (l3, l2) = (Pfn(pages - 2), Pfn(pages - 3));
        let set = |table: Mfn, index: usize, value: u64| {
            hv.machine.words(table)[index].store(value, Ordering::SeqCst);
        };
        let upper = entry::PRESENT | entry::RW | entry::USER | entry::ACCESSED;
        set(
            self.mfn(self.l4),
            entry::index(DIRECT_MAP, 4),
            self.mfn(l3).addr() | upper,
        );
        set(
            self.mfn(l3),
            entry::index(DIRECT_MAP, 3),
            self.mfn(l2).addr() | upper,
        );
        self.l1 = (first_table..first_table + l1_count).map(Pfn).collect();
        for (i, &table) in self.l1.iter().enumerate() {
            set(self.mfn(l2), i, self.mfn(table).addr() | upper);
        }
        for pfn in 0..pages {
            let rw = if pfn < first_table { entry::RW } else { 0 };
            let table = self.mfn(self.l1[(pfn / 512) as usize]);
            let value = self.mfn(Pfn(pfn)).addr() | entry::PRESENT | entry::ACCESSED | rw;
            set(table, (pfn % 512) as usize, value);
        }
        let root = self.mfn(self.l4);
        mm::get_table(
            hv,
            &self.domain,
            root,
            PageType::L4,
            &mut Budget::unlimited(),
        )
        .expect("sim: first tables");
        self.ctx.kernel_root = Some(root);
    }

    /// Puts the guest on a processor.
    pub fn run_on(&mut self, hv: &Hypervisor<SimMachine>, cpu: CpuId) {
        self.cpu = cpu;
        self.domain.dirty_cpus.lock().insert(cpu);
        self.vcpu.set_running(Some(cpu));
        self.as_running(hv, || {});
    }

    /// Takes the guest off its processor, its context back in its place.
    #[must_use]
    pub fn park(self, hv: &Hypervisor<SimMachine>) -> Arc<Domain> {
        super::on_cpu(self.cpu, || hv.machine.load_idle_root());
        *self.vcpu.parked.lock() = Some(self.ctx);
        self.vcpu.set_running(None);
        self.domain
    }

    /// Runs `body` on the guest's processor, after a context switch if another guest ran there.
    fn as_running<T>(&self, hv: &Hypervisor<SimMachine>, body: impl FnOnce() -> T) -> T {
        super::on_cpu(self.cpu, || {
            // Tests may say that the guest is in user mode before it has tables for that.
            let root = self.ctx.current_root().or(self.ctx.kernel_root);
            if hv.machine.loaded_root(self.cpu) != root {
                match root {
                    Some(root) => hv.machine.load_root(root),
                    None => hv.machine.load_idle_root(),
                }
                hv.machine.flush_tlb(&CpuMask::single(self.cpu), Flush::All);
            }
            body()
        })
    }

    /// The frame behind a PFN.
    ///
    /// # Panics
    /// For PFNs that the guest was not built with.
    #[must_use]
    pub fn mfn(&self, pfn: Pfn) -> Mfn {
        self.frames[pfn.0 as usize]
    }

    /// Address in the direct map.
    #[must_use]
    pub const fn va(&self, pfn: Pfn) -> u64 {
        DIRECT_MAP + pfn.0 * PAGE_SIZE
    }

    /// Number of pages that are not tables.
    #[must_use]
    pub fn plain_pages(&self) -> u64 {
        self.l1.first().map_or(0, |pfn| pfn.0)
    }

    /// Machine address of the L1 entry of a PFN in the direct map.
    #[must_use]
    pub fn pte_addr(&self, pfn: Pfn) -> u64 {
        self.mfn(self.l1[(pfn.0 / 512) as usize]).addr() + pfn.0 % 512 * 8
    }

    /// Writes to guest memory as the guest does.
    ///
    /// # Errors
    /// The page fault.
    ///
    /// # Panics
    /// If the write reached a page that is in use as a table: the one thing that must never happen.
    pub fn store(
        &self,
        hv: &Hypervisor<SimMachine>,
        addr: u64,
        bytes: &[u8],
    ) -> Result<(), GuestFault> {
        self.as_running(hv, || {
            let target = hv.machine.probe_write(self.cpu, addr)?;
            let word = hv.mem.type_of(target);
            assert!(
                word.count() == 0 || word.kind() == PageType::Writable || !hv.mem.is_ram(target),
                "guest writes to {target:?}, which is {word:?}"
            );
            // A freed page may still be written through a stale translation, as long as the page remembers that: this
            // processor is flushed, and the contents cleared, before anybody gets it.
            let flushed_before_use =
                || (hv.mem.owing(&hv.machine.online(), target)).contains(self.cpu);
            assert!(
                hv.mem.owner(target).is_some() || !hv.mem.is_ram(target) || flushed_before_use(),
                "guest writes to {target:?}, which is nobody's, and no flush is owed"
            );
            hv.machine.copy_to_guest(addr, bytes)
        })
    }

    /// Puts a value into guest memory and returns its address.
    ///
    /// # Panics
    /// If the page is not writable.
    pub fn put<T: IntoBytes + Immutable + ?Sized>(
        &self,
        hv: &Hypervisor<SimMachine>,
        pfn: Pfn,
        value: &T,
    ) -> u64 {
        self.store(hv, self.va(pfn), value.as_bytes())
            .expect("sim: writable page");
        self.va(pfn)
    }

    /// Reads a word of guest memory.
    ///
    /// # Errors
    /// The page fault.
    pub fn load(&self, hv: &Hypervisor<SimMachine>, addr: u64) -> Result<u64, GuestFault> {
        self.as_running(hv, || hv.machine.read_guest_u64(addr))
    }

    /// Issues a hypercall and follows its continuations to the end.
    ///
    /// # Panics
    /// If it never ends.
    pub fn hypercall(
        &mut self,
        hv: &Hypervisor<SimMachine>,
        nr: HypercallNr,
        args: [u64; 6],
    ) -> i64 {
        let mut args = args;
        for _ in 0..PATIENCE {
            match self.hypercall_once(hv, nr, args) {
                Ok(result) => return result,
                Err(again) => args = again,
            }
        }
        panic!("sim: {nr:?} never ends");
    }

    /// Executes one SYSCALL: the result, or the arguments with which to go on.
    ///
    /// # Errors
    /// Preempted: these are the arguments of the continuation.
    pub fn hypercall_once(
        &mut self,
        hv: &Hypervisor<SimMachine>,
        nr: HypercallNr,
        args: [u64; 6],
    ) -> Result<i64, [u64; 6]> {
        const RIP: u64 = 0xffff_ffff_8100_0002;
        let regs = &mut self.regs;
        regs.rip = RIP;
        regs.rax = nr.0;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        self.as_running(hv, || {});
        super::on_cpu(self.cpu, || {
            crate::hypercall::enter(
                hv,
                self.cpu,
                &self.domain,
                &self.vcpu,
                &mut self.ctx,
                &mut self.regs,
            );
        });
        let regs = &self.regs;
        if regs.rip == RIP {
            Ok(regs.rax.cast_signed())
        } else {
            Err([regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9])
        }
    }

    /// The references that this guest's context holds.
    #[must_use]
    pub fn holders(&self) -> Holders {
        let mut holders = Holders::default();
        self.ctx.enter_holds(&mut holders);
        holders
    }

    /// Recounts all references.
    ///
    /// # Panics
    /// If the records disagree with the recount.
    pub fn audit(&self, hv: &Hypervisor<SimMachine>) {
        audit(hv, &[self]);
    }
}

/// Recounts all references of a machine on which these guests, and no others, run: pages, vCPUs, ports, grants.
///
/// # Panics
/// If the records disagree with the recount.
pub fn audit(hv: &Hypervisor<SimMachine>, guests: &[&PvGuest]) {
    let mut all = hv.holders();
    // These contexts can be looked into.
    all.running.clear();
    for guest in guests {
        guest.ctx.enter_holds(&mut all);
    }
    let faults = hv.audit(&all);
    assert!(faults.is_empty(), "audit: {faults:#?}");
}
