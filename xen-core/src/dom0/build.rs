//! Carrying out the plan: the first domain's memory, page tables and first vCPU.
//!
//! Two steps, because the kernel's decompressed image lies in memory that dom0 gets afterwards: [`Hypervisor::load_dom0`]
//! copies kernel and initrd into frames of the domain; then the machine hands the scratch memory and the boot modules
//! to the allocator; [`Hypervisor::finish_dom0`] gives dom0 the rest of its memory and makes it ready to run.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};
use hypercall_abi::platform::ProcessorPm;
use hypercall_abi::xen::{Dom0VgaConsoleInfo, DomId, VmassistType};
use zerocopy::FromZeros;

use super::elf::Kernel;
use super::notes::PaeMode;
use super::page_tables::PageTables;
use super::plan::{Demand, Plan};
use super::start_info::{self, BootInfo};
use super::{KernelError, hypercall_page};
use crate::boot::options::MemSize;
use crate::domain::{Domain, DomainConfig, Privileges, VcpuInfo};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::mm::{AllocOptions, PageType};
use crate::num::{Mfn, PAGE_SIZE, Pfn, VcpuId};
use crate::outcome::{Budget, Stop};
use crate::pv::context;

/// Allocation order of dom0's memory where it fits: 2 MiB.
const CHUNK_ORDER: u32 = 9;
/// Grant frames and maptrack frames of dom0 (Xen's defaults).
const GRANT_FRAMES: u32 = 64;
const MAPTRACK_FRAMES: u32 = 1024;
/// Most that is kept back for the hypervisor when `dom0_mem` is not given: 128 MiB in pages.
const MAX_RESERVE: u64 = (128 << 20) / PAGE_SIZE;

/// What the boot loader brought for dom0.
#[derive(Clone, Copy, Debug)]
pub struct Dom0Image<'a> {
    /// The decompressed, parsed kernel.
    pub kernel: &'a Kernel<'a>,
    /// The initrd; empty for none.
    pub initrd: &'a [u8],
    /// The kernel's command line.
    pub cmdline: &'a [u8],
    /// The console that firmware left, if known.
    pub console: Option<&'a Dom0VgaConsoleInfo>,
}

/// dom0 between its two steps.
#[derive(Debug)]
pub struct LoadedDom0 {
    domain: Arc<Domain>,
    plan: Plan,
    /// MFN of each PFN that the plan lays out.
    frames: Vec<Mfn>,
}

impl LoadedDom0 {
    fn mfn(&self, pfn: Pfn) -> Mfn {
        self.frames
            .get(pfn.get() as usize)
            .copied()
            .unwrap_or(Mfn::INVALID)
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Creates dom0, gives it the memory that the plan needs and copies kernel and initrd there. `coming_pages` is
    /// what the allocator gets before [`Hypervisor::finish_dom0`].
    ///
    /// # Errors
    /// The kernel or its demands do not fit the machine.
    pub fn load_dom0(
        &self,
        image: &Dom0Image<'_>,
        coming_pages: u64,
    ) -> Result<LoadedDom0, KernelError> {
        let nr_pages = self.dom0_pages(coming_pages);
        let plan = Plan::new(
            image.kernel,
            Demand {
                nr_pages,
                initrd_len: image.initrd.len() as u64,
                ..Demand::default()
            },
        )?;
        log::info!(
            "dom0: {} MiB, mapped {:#x}-{:#x}, entry {:#x}",
            nr_pages >> 8,
            plan.v_start,
            plan.v_end,
            plan.entry
        );
        let domain = self
            .create_domain(DomainConfig {
                id: DomId(0),
                privileges: Privileges {
                    control: true,
                    hardware: true,
                    xenstore: false,
                },
                max_vcpus: self.dom0_vcpus(),
                max_evtchn_port: u32::MAX,
                max_grant_frames: GRANT_FRAMES,
                max_maptrack_frames: MAPTRACK_FRAMES,
                cpu_policy: self.policies.hardware_domain(),
                handle: [0; 16],
                ssidref: 0,
                paused: false,
                hvm: None,
            })
            .map_err(|_| too_little(plan.pages_needed, 0))?;
        domain.pages.set_max_pages(u64::from(u32::MAX));
        let mut loaded = LoadedDom0 {
            domain,
            plan,
            frames: Vec::new(),
        };
        self.populate(&mut loaded)?;
        self.copy_image(&loaded, image)?;
        Ok(loaded)
    }

    /// Gives dom0 the rest of its memory, builds and validates its page tables and starts its first vCPU.
    ///
    /// # Errors
    /// The memory ran out, or the tables did not validate (which would be our bug).
    pub fn finish_dom0(&self, loaded: LoadedDom0) -> Result<Arc<Domain>, KernelError> {
        let LoadedDom0 { domain, plan, .. } = &loaded;
        self.fill_p2m(&loaded)?;
        let tables = PageTables::build(plan);
        for table in tables.tables() {
            let words = self.machine.words(loaded.mfn(table.pfn));
            for (index, entry) in tables.entries(table, |pfn| loaded.mfn(pfn)) {
                words[index].store(entry, core::sync::atomic::Ordering::Relaxed);
            }
        }
        if plan.pae == PaeMode::ExtendedCr3 {
            domain.vm_assist.fetch_or(
                1 << VmassistType::PAE_EXTENDED_CR3.0,
                core::sync::atomic::Ordering::Relaxed,
            );
        }
        for id in 0..domain.max_vcpus() {
            let vcpu = self.create_vcpu(domain, VcpuId(id));
            let cpus = self.machine.online();
            let own = cpus.iter().nth(id as usize % cpus.iter().count().max(1));
            if self.options.dom0_vcpus_pin
                && let Some(cpu) = own
            {
                vcpu.sched.set_hard_affinity(&CpuMask::single(cpu));
            }
        }
        for id in 0..32 {
            let info = VcpuInfo {
                mfn: domain.shared_info,
                first_word: id * VcpuInfo::WORDS,
            };
            info.set_upcall_mask(&self.machine, true);
        }
        self.start_first_vcpu(&loaded)?;
        Ok(domain.clone())
    }

    fn start_first_vcpu(&self, loaded: &LoadedDom0) -> Result<(), KernelError> {
        let LoadedDom0 { domain, plan, .. } = loaded;
        let entry = plan.entry_state();
        let root = loaded.mfn(entry.l4);
        let pin = |budget: &mut Budget| {
            crate::pv::mm::pin_table(self, domain, root, PageType::L4, budget)
        };
        finish(pin).map_err(|_| KernelError::BadAddress("page tables"))?;

        let mut guest = Box::new(VcpuGuestContext::new_zeroed());
        guest.flags = (VgcfFlags::IN_KERNEL | VgcfFlags::ONLINE).bits();
        guest.user_regs.rip = entry.rip;
        guest.user_regs.rsp = entry.rsp;
        guest.user_regs.rsi = entry.rsi;
        guest.user_regs.rflags = entry.rflags;
        guest.user_regs.cs = entry.cs;
        guest.user_regs.ss = entry.ss;
        guest.ctrlreg[3] = root.addr();
        guest.vm_assist = domain.vm_assist.load(core::sync::atomic::Ordering::Relaxed);
        let vcpu = domain.vcpu(VcpuId(0)).cloned().ok_or(too_little(1, 0))?;
        let mut ctx = vcpu.parked.lock().take().ok_or(too_little(1, 0))?;
        let set = |_: &mut Budget| context::prepare(self, domain, &vcpu, &mut ctx, &guest);
        let result = finish(set);
        *vcpu.parked.lock() = Some(ctx);
        result.map_err(|_| KernelError::BadAddress("first vCPU"))?;
        context::go_online(self, &vcpu, &guest);
        Ok(())
    }

    /// dom0's memory in pages, by `dom0_mem` or everything but a reserve.
    fn dom0_pages(&self, coming_pages: u64) -> u64 {
        let available = self.mem.free_pages().saturating_add(coming_pages);
        let bytes = available.saturating_mul(PAGE_SIZE);
        let wanted = &self.options.dom0_mem;
        let in_pages = |size: MemSize| size.resolve(bytes) / PAGE_SIZE;
        let fixed = wanted
            .fixed
            .map_or(available - (available / 16).min(MAX_RESERVE), in_pages);
        let at_least = fixed.max(wanted.min.map_or(0, in_pages));
        at_least
            .min(wanted.max.map_or(u64::MAX, in_pages))
            .min(available)
    }

    /// dom0's vCPUs, by `dom0_max_vcpus` or one per processor.
    fn dom0_vcpus(&self) -> u32 {
        let cpus = u32::try_from(self.machine.online().iter().count()).unwrap_or(1);
        let wanted = &self.options.dom0_max_vcpus;
        cpus.clamp(wanted.min.max(1), wanted.max.max(1)).max(1)
    }

    /// Allocates the frames of the PFNs that the plan lays out.
    fn populate(&self, loaded: &mut LoadedDom0) -> Result<(), KernelError> {
        let wanted = loaded.plan.pages_needed;
        while (loaded.frames.len() as u64) < wanted {
            let left = wanted - loaded.frames.len() as u64;
            let (first, order) = self
                .dom0_chunk(&loaded.domain, left, AllocOptions::default())
                .ok_or(too_little(wanted, wanted - left))?;
            for i in 0..1u64 << order {
                let pfn = loaded.frames.len() as u64;
                self.set_m2p(first.offset(i), Pfn(pfn));
                loaded.frames.push(first.offset(i));
            }
        }
        Ok(())
    }

    /// The largest chunk for dom0 that is no longer than `left` pages.
    fn dom0_chunk(&self, domain: &Domain, left: u64, options: AllocOptions) -> Option<(Mfn, u32)> {
        let fitting = left.max(1).ilog2().min(CHUNK_ORDER);
        (0..=fitting).rev().find_map(|order| {
            let first = self
                .mem
                .allocate(&self.machine, &domain.pages, order, options)?;
            Some((first, order))
        })
    }

    fn set_m2p(&self, mfn: Mfn, pfn: Pfn) {
        if let Some(entry) = self.machine.m2p(mfn) {
            entry.store(pfn.get(), core::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Copies kernel segments, initrd, start_info and the hypercall page.
    fn copy_image(&self, loaded: &LoadedDom0, image: &Dom0Image<'_>) -> Result<(), KernelError> {
        let plan = &loaded.plan;
        for segment in &image.kernel.segments {
            let offset = image.kernel.offset_in_mapping(segment);
            self.copy_to_pfns(loaded, offset, segment.data)?;
        }
        if let Some(initrd) = &plan.initrd {
            self.copy_to_pfns(loaded, initrd.pfn.addr(), image.initrd)?;
        }
        let info = BootInfo {
            shared_info: loaded.domain.shared_info.addr(),
            cmdline: image.cmdline,
            console: image.console,
            pm_bits: (ProcessorPm::CX | ProcessorPm::PX).bits() as u8,
        };
        let mut page = Box::new([0; PAGE_SIZE as usize]);
        start_info::encode(plan, &info, &mut page)?;
        let pfn = plan
            .pfn_of(plan.start_info)
            .ok_or(KernelError::BadAddress("start_info"))?;
        self.copy_to_pfns(loaded, pfn.addr(), &page[..])?;
        if let Some(pfn) = plan.hypercall_page {
            self.copy_to_pfns(loaded, pfn.addr(), &hypercall_page::bytes())?;
        }
        Ok(())
    }

    /// Copies to pseudo-physical memory; what the frames hold beyond the bytes is zero since their allocation.
    fn copy_to_pfns(
        &self,
        loaded: &LoadedDom0,
        start: u64,
        bytes: &[u8],
    ) -> Result<(), KernelError> {
        let mut at = start;
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = at % PAGE_SIZE;
            let n = ((PAGE_SIZE - offset) as usize).min(rest.len());
            let (now, later) = rest.split_at(n);
            let mfn = loaded.mfn(Pfn(at / PAGE_SIZE));
            if mfn == Mfn::INVALID {
                return Err(KernelError::BadElf("segment"));
            }
            self.machine.write_frame(mfn, offset as usize, now);
            at += n as u64;
            rest = later;
        }
        Ok(())
    }

    /// Allocates all PFNs beyond the plan and writes the P2M.
    fn fill_p2m(&self, loaded: &LoadedDom0) -> Result<(), KernelError> {
        let LoadedDom0 {
            domain,
            plan,
            frames,
        } = loaded;
        let write = |pfn: u64, mfn: Mfn| {
            let leaf = loaded.mfn(Pfn(plan.p2m.pfn.get() + pfn / 512));
            self.machine.words(leaf)[(pfn % 512) as usize]
                .store(mfn.get(), core::sync::atomic::Ordering::Relaxed);
        };
        for (pfn, mfn) in frames.iter().enumerate() {
            write(pfn as u64, *mfn);
        }
        // Memory that holds nothing: the kernel clears what it gives to others, as it must on a real machine too.
        let unused = AllocOptions {
            uncleared: true,
            ..AllocOptions::default()
        };
        let mut pfn = frames.len() as u64;
        while pfn < plan.nr_pages {
            let (first, order) = self
                .dom0_chunk(domain, plan.nr_pages - pfn, unused)
                .ok_or(too_little(plan.nr_pages, pfn))?;
            for i in 0..1u64 << order {
                self.set_m2p(first.offset(i), Pfn(pfn));
                write(pfn, first.offset(i));
                pfn += 1;
            }
        }
        Ok(())
    }
}

const fn too_little(needed: u64, given: u64) -> KernelError {
    KernelError::TooLittleMemory { needed, given }
}

/// Runs a preemptible operation to its end: at boot nothing else waits.
fn finish<T>(
    mut step: impl FnMut(&mut Budget) -> Result<T, Stop>,
) -> Result<T, hypercall_abi::errno::Errno> {
    loop {
        match step(&mut Budget::unlimited()) {
            Ok(value) => return Ok(value),
            Err(Stop::Preempted) => {}
            Err(Stop::Fail(errno)) => return Err(errno),
        }
    }
}
