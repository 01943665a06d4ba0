//! Carrying out the plan: memory, image, page tables, rings, first vCPU.

use hypercall_abi::xen::DomId;
use xen_core::dom0::KernelError;
use xen_core::dom0::elf::Kernel;
use xen_core::dom0::page_tables::PageTables;
use xen_core::dom0::plan::{Demand, Plan, TableOrder};
use xen_core::num::{Mfn, Pfn};
use zerocopy::IntoBytes as _;

use super::start_info::{Ring, StartInfoInput, start_info};
use super::{BuildError, KernelFile, kernel, special_pages, vcpu};
use crate::sys::file_map::FileMap;
use crate::xen::{PAGE, Xen};

/// log2 of the pages that are asked for at once: 2 MiB, as libxenguest does.
const LARGE_ORDER: u32 = 9;
/// Extents per call, so that a call stays short.
const BATCH: usize = 1024;
/// The rings of store and console.
const RINGS: u64 = 2;

/// What to build.
#[derive(Debug)]
pub struct Request<'a> {
    /// The domain: made, with vCPUs, without memory.
    pub domain: DomId,
    /// Who serves its console and store.
    pub backend: DomId,
    /// The kernel.
    pub kernel: &'a KernelFile,
    /// The initial RAM disk's file.
    pub ramdisk: Option<&'a str>,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// Memory when it starts.
    pub pages: u64,
    /// The guest's ports for store and console.
    pub store_port: u32,
    /// Likewise.
    pub console_port: u32,
}

/// What the rest of the toolstack needs to know of a guest that was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// The store's ring.
    pub store_mfn: u64,
    /// The console's ring.
    pub console_mfn: u64,
}

/// Fills the domain of `request`; its vCPU 0 can run afterwards.
///
/// # Errors
/// A file is unusable, memory is missing, or the hypervisor refuses something. The domain is to be destroyed then.
pub fn build(xen: &dyn Xen, request: &Request<'_>) -> Result<Built, BuildError> {
    let kernel = request.kernel.parse()?;
    let ramdisk = request.ramdisk.map(kernel::open_ramdisk).transpose()?;
    let plan = plan(request, &kernel, ramdisk.as_ref())?;

    // Claimed first, so that a guest that does not fit fails before it has taken anything.
    xen.claim(request.domain, request.pages).map_err(|error| {
        if error.is(hypercall_abi::Errno::ENOMEM) {
            BuildError::OutOfMemory {
                missing: request.pages,
            }
        } else {
            error.into()
        }
    })?;
    let populated = populate(xen, request.domain, request.pages);
    // What is left of the claim goes back in any case.
    xen.claim(request.domain, 0)?;
    let p2m = populated?;

    let guest = Guest {
        xen,
        domain: request.domain,
        plan: &plan,
        p2m: &p2m,
    };
    guest.load_image(&kernel)?;
    if let (Some(ramdisk), Some(initrd)) = (&ramdisk, &plan.initrd) {
        guest.write(initrd.pfn, ramdisk.bytes(), initrd.pages)?;
    }
    guest.write(plan.p2m.pfn, p2m.as_bytes(), plan.p2m.frames)?;

    let info = xen.domain_info(request.domain)?.ok_or_else(|| {
        crate::xen::XenError::new("domctl getdomaininfo", Some(request.domain), libc::ESRCH)
    })?;
    let ring = |index: u64| guest.mfn_at(plan.start_info + (1 + index) * PAGE);
    let (store_mfn, console_mfn) = (ring(0), ring(1));
    let page = start_info(
        &plan,
        &StartInfoInput {
            shared_info: info.shared_info_frame,
            cmdline: request.cmdline,
            store: Ring {
                mfn: store_mfn,
                port: request.store_port,
            },
            console: Ring {
                mfn: console_mfn,
                port: request.console_port,
            },
        },
    )?;
    // start_info and, behind it, the rings, which begin empty.
    guest.write(guest.pfn_at(plan.start_info), page.as_bytes(), 1 + RINGS)?;

    let l4 = guest.write_page_tables()?;
    if let Some(pfn) = plan.hypercall_page {
        xen.init_hypercall_page(request.domain, guest.mfn(pfn))?;
    }
    xen.pin_l4(request.domain, l4)?;
    special_pages::init_shared_info(xen, request.domain, info.shared_info_frame)?;
    xen.set_vcpu_context(request.domain, 0, &vcpu::context(&plan, l4))?;
    special_pages::grant_rings(xen, request.domain, request.backend, console_mfn, store_mfn)?;
    Ok(Built {
        store_mfn,
        console_mfn,
    })
}

fn plan(
    request: &Request<'_>,
    kernel: &Kernel<'_>,
    ramdisk: Option<&FileMap>,
) -> Result<Plan, BuildError> {
    let demand = Demand {
        nr_pages: request.pages,
        initrd_len: ramdisk.map_or(0, |ramdisk| ramdisk.bytes().len() as u64),
        rings: RINGS,
        table_order: TableOrder::TopDown,
    };
    Plan::new(kernel, demand).map_err(|error| match error {
        KernelError::TooLittleMemory { needed, given } => BuildError::TooLittleMemory {
            needed_mib: needed.div_ceil(256),
            given_mib: given / 256,
        },
        error => BuildError::Kernel {
            path: request.kernel.path().to_owned(),
            error,
        },
    })
}

/// Gives the domain `pages` pages; the machine frame of each.
fn populate(xen: &dyn Xen, domain: DomId, pages: u64) -> Result<Vec<u64>, BuildError> {
    let count = usize::try_from(pages).unwrap_or(usize::MAX);
    let mut p2m = Vec::with_capacity(count);
    let mut large = true;
    while p2m.len() < count {
        let left = count - p2m.len();
        let order = if large && left >> LARGE_ORDER > 0 {
            LARGE_ORDER
        } else {
            0
        };
        let extents = (left >> order).min(BATCH);
        let first = p2m.len() as u64;
        let mut frames: Vec<u64> = (0..extents as u64)
            .map(|index| first + (index << order))
            .collect();
        let done = xen.populate(domain, order, &mut frames)?;
        for mfn in frames.iter().take(done) {
            p2m.extend(*mfn..*mfn + (1 << order));
        }
        if done < extents {
            // Where no large extents are left, single pages may be.
            if order == 0 {
                return Err(BuildError::OutOfMemory {
                    missing: pages - p2m.len() as u64,
                });
            }
            large = false;
        }
    }
    Ok(p2m)
}

/// A guest whose memory is there.
struct Guest<'a> {
    xen: &'a dyn Xen,
    domain: DomId,
    plan: &'a Plan,
    p2m: &'a [u64],
}

impl Guest<'_> {
    fn mfn(&self, pfn: Pfn) -> u64 {
        // The plan fits the memory, so every frame of it exists.
        usize::try_from(pfn.get())
            .ok()
            .and_then(|pfn| self.p2m.get(pfn))
            .copied()
            .unwrap_or(u64::MAX)
    }

    fn pfn_at(&self, address: u64) -> Pfn {
        Pfn::new((address - self.plan.v_start) / PAGE)
    }

    fn mfn_at(&self, address: u64) -> u64 {
        self.mfn(self.pfn_at(address))
    }

    fn map(&self, first: Pfn, pages: u64) -> Result<Box<dyn crate::xen::GuestMemory>, BuildError> {
        let frames: Vec<u64> = (first.get()..first.get() + pages)
            .map(|pfn| self.mfn(Pfn::new(pfn)))
            .collect();
        Ok(self.xen.map_frames(self.domain, &frames, true)?)
    }

    /// Writes `data`, and zeros behind it, to `pages` pages from `first`.
    fn write(&self, first: Pfn, data: &[u8], pages: u64) -> Result<(), BuildError> {
        let memory = self.map(first, pages)?;
        memory.write(0, data);
        memory.fill(data.len(), memory.len() - data.len(), 0);
        Ok(())
    }

    /// Writes the kernel's segments, and zeros between and behind them.
    fn load_image(&self, kernel: &Kernel<'_>) -> Result<(), BuildError> {
        let start = self.plan.image.start & !(PAGE - 1);
        let end = self.plan.image.end.next_multiple_of(PAGE);
        let first = self.pfn_at(start);
        let memory = self.map(first, (end - start) / PAGE)?;
        let mut segments: Vec<_> = kernel
            .segments
            .iter()
            .map(|segment| {
                let offset = kernel.offset_in_mapping(segment) - first.get() * PAGE;
                (offset as usize, segment)
            })
            .collect();
        segments.sort_by_key(|(offset, _)| *offset);
        // Everything that no segment's data covers is zero; a later segment in the file may overlap an earlier one.
        let mut covered = 0;
        for (offset, segment) in &segments {
            if *offset > covered {
                memory.fill(covered, offset - covered, 0);
            }
            covered = covered.max(offset + segment.data.len());
        }
        if covered < memory.len() {
            memory.fill(covered, memory.len() - covered, 0);
        }
        for segment in &kernel.segments {
            let offset = kernel.offset_in_mapping(segment) - first.get() * PAGE;
            memory.write(offset as usize, segment.data);
        }
        Ok(())
    }

    /// Writes all page tables; the machine frame of the level-4 table.
    fn write_page_tables(&self) -> Result<u64, BuildError> {
        let tables = PageTables::build(self.plan);
        for run in tables
            .tables()
            .chunk_by(|a, b| a.pfn.get() + 1 == b.pfn.get())
        {
            let Some(first) = run.first() else { continue };
            let memory = self.map(first.pfn, run.len() as u64)?;
            for (index, table) in run.iter().enumerate() {
                let mut words = [0_u64; 512];
                for (entry, value) in tables.entries(table, |pfn| Mfn::new(self.mfn(pfn))) {
                    words[entry] = value;
                }
                memory.write(index * PAGE as usize, words.as_bytes());
            }
        }
        Ok(self.mfn(Pfn::new(self.plan.bootstrap_tables().start)))
    }
}
