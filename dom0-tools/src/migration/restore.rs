//! Filling a new domain from a stream.

use std::io::Read;
use std::mem::offset_of;

use hypercall_abi::arch_x86::xen_x86_64::{cr3_to_pfn, pfn_to_cr3};
use hypercall_abi::arch_x86::{ArchSharedInfo, VcpuGuestContext};
use hypercall_abi::domctl::{DomctlExtVcpucontext, DomctlTscInfo};
use hypercall_abi::xen::{DomId, MmuextCmd, SharedInfo, StartInfo, StartInfoConsoleDomU, VcpuInfo};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::page_table::{self, ENTRIES, PageType};
use super::record::{self, Record, kind};
use super::{BATCH, INVALID, MigrationError, format_error, frame_limit};
use crate::xen::{GuestMemory, PAGE, Xen};

/// The domain to fill.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// It has vCPUs and no memory.
    pub domain: DomId,
    /// The memory that it is to have at most.
    pub pages: u64,
    /// The guest's port of the store.
    pub store_port: u32,
    /// Of the console.
    pub console_port: u32,
    /// How many vCPUs it has.
    pub vcpus: u32,
}

/// Rings of the guest that was restored, machine frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Of the store.
    pub store_mfn: u64,
    /// Of the console.
    pub console_mfn: u64,
}

/// Fills the domain of `request` from `input`, which stands at libxl's header.
///
/// # Errors
/// The stream is none or damaged, memory is missing, or the hypervisor refuses something. The domain is to be destroyed then.
pub fn restore(
    xen: &dyn Xen,
    request: Request,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, MigrationError> {
    record::enter_libxl(input)?;
    record::enter(input)?;
    let mut guest = Guest {
        xen,
        request,
        frames: Vec::new(),
        types: Vec::new(),
        holders: Vec::new(),
        vcpus: Vec::new(),
        leaves: Vec::new(),
        msrs: Vec::new(),
        shared: None,
    };
    loop {
        let record = record::read(input)?;
        if record.kind == kind::END {
            break;
        }
        guest.take(record, progress)?;
    }
    let restored = guest.finish()?;
    // What follows the memory of a PV guest is only the end.
    let last = record::read(input)?;
    if last.kind != record::libxl::END {
        return format_error(format!(
            "a record of type {:#x} follows the memory",
            last.kind
        ));
    }
    Ok(restored)
}

/// A vCPU's records.
#[derive(Default)]
struct Vcpu {
    basic: Vec<u8>,
    extended: Vec<u8>,
    xsave: Vec<u8>,
    msrs: Vec<u8>,
}

/// A guest that is being put together.
struct Guest<'a> {
    xen: &'a dyn Xen,
    request: Request,
    /// Machine frame of each guest frame.
    frames: Vec<u64>,
    types: Vec<PageType>,
    /// Guest frames of the guest's own P2M.
    holders: Vec<u64>,
    vcpus: Vec<Vcpu>,
    leaves: Vec<u8>,
    msrs: Vec<u8>,
    shared: Option<Vec<u8>>,
}

impl Guest<'_> {
    fn take(
        &mut self,
        record: Record,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), MigrationError> {
        match record.kind {
            kind::PV_INFO => {
                if record.body.get(..2) != Some(&[8, 4]) {
                    return format_error("only 64-bit guests can be restored");
                }
                Ok(())
            }
            kind::CPUID_POLICY => {
                self.leaves = record.body;
                Ok(())
            }
            kind::MSR_POLICY => {
                self.msrs = record.body;
                Ok(())
            }
            // Nothing follows from these.
            kind::STATIC_DATA_END | kind::VERIFY => Ok(()),
            kind::PV_P2M_FRAMES => self.take_p2m(&record),
            kind::PAGE_DATA => self.take_pages(&record, progress),
            kind::TSC_INFO => self.take_tsc(&record),
            kind::SHARED_INFO => {
                if record.body.len() != PAGE as usize {
                    return format_error("the shared page is not a page");
                }
                self.shared = Some(record.body);
                Ok(())
            }
            kind::VCPU_BASIC | kind::VCPU_EXTENDED | kind::VCPU_XSAVE | kind::VCPU_MSRS => {
                self.take_vcpu(&record)
            }
            _ if record.is_optional() => Ok(()),
            other => format_error(format!("records of type {other:#x} are not for PV guests")),
        }
    }

    fn take_p2m(&mut self, record: &Record) -> Result<(), MigrationError> {
        let (start, end) = (record.u32(0)?, record.u32(4)?);
        let limit = frame_limit(self.request.pages);
        if start != 0 || u64::from(end) >= limit {
            return format_error(format!(
                "its frames are {start} to {end}; expected 0 to {limit} at most"
            ));
        }
        if !self.frames.is_empty() {
            return format_error("it has two lists of frames");
        }
        self.holders = record.words(8)?;
        let count = end as usize + 1;
        if self.holders.len() != count.div_ceil(ENTRIES) {
            return format_error("its list of frames has the wrong length");
        }
        self.frames = vec![INVALID; count];
        self.types = vec![PageType(0); count];
        // From here on nothing changes what processor the guest sees.
        if !self.leaves.is_empty() || !self.msrs.is_empty() {
            let domain = self.request.domain;
            self.xen
                .set_domain_policy(domain, &self.leaves, &self.msrs)?;
        }
        Ok(())
    }

    /// The machine frame of guest frame `pfn`.
    fn frame(&self, pfn: u64, what: &str) -> Result<u64, MigrationError> {
        let frame = usize::try_from(pfn)
            .ok()
            .and_then(|pfn| self.frames.get(pfn));
        match frame {
            Some(frame) if *frame != INVALID => Ok(*frame),
            _ => format_error(format!(
                "{what} is guest frame {pfn:#x}, which is not there"
            )),
        }
    }

    /// The machine frame of guest frame `pfn`, which must be an ordinary page.
    fn plain_frame(&self, pfn: u64, what: &str) -> Result<u64, MigrationError> {
        let frame = self.frame(pfn, what)?;
        if self.types.get(pfn as usize) == Some(&PageType(0)) {
            Ok(frame)
        } else {
            format_error(format!("{what} (guest frame {pfn:#x}) is a page table"))
        }
    }

    /// Gives the domain frames for those of `pfns` that have none.
    fn populate(&mut self, pfns: impl Iterator<Item = u64>) -> Result<(), MigrationError> {
        let mut missing: Vec<u64> = Vec::new();
        for pfn in pfns {
            match self.frames.get(usize::try_from(pfn).unwrap_or(usize::MAX)) {
                Some(frame) if *frame == INVALID => missing.push(pfn),
                Some(_) => {}
                None => {
                    return format_error(format!(
                        "guest frame {pfn:#x} is beyond the last one, {:#x}",
                        self.frames.len() - 1
                    ));
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        for chunk in missing.chunks(BATCH) {
            let mut extents = chunk.to_vec();
            let done = self.xen.populate(self.request.domain, 0, &mut extents)?;
            if done < chunk.len() {
                return Err(crate::xen::XenError::new(
                    "memory_op POPULATE_PHYSMAP",
                    Some(self.request.domain),
                    libc::ENOMEM,
                )
                .into());
            }
            for (pfn, frame) in chunk.iter().zip(extents) {
                if let Some(slot) = self.frames.get_mut(*pfn as usize) {
                    *slot = frame;
                }
            }
        }
        Ok(())
    }

    fn take_pages(
        &mut self,
        record: &Record,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), MigrationError> {
        let count = record.u32(0)? as usize;
        if self.frames.is_empty() || count == 0 || count > BATCH {
            return format_error("pages come before the list of frames, or too many at once");
        }
        let words_end = 8 + count * 8;
        let words = Record {
            kind: record.kind,
            body: record.body.get(8..words_end).unwrap_or_default().to_vec(),
        };
        let pages: Vec<(u64, PageType)> = words
            .words(0)?
            .iter()
            .map(|word| (word & (FRAME_MASK), PageType((word >> 60) as u32)))
            .collect();
        let with_data = pages.iter().filter(|(_, kind)| kind.has_data());
        let expected = with_data.clone().count() * PAGE as usize;
        let data = record.body.get(words_end..).unwrap_or_default();
        if pages.len() != count
            || data.len() != expected
            || pages.iter().any(|(_, kind)| !kind.exists())
        {
            return format_error("a record of pages does not have what it announces");
        }
        let allocated = pages.iter().filter(|(_, kind)| kind.is_allocated());
        self.populate(allocated.map(|(pfn, _)| *pfn))?;
        for (pfn, kind) in &pages {
            if let Some(slot) = self.types.get_mut(*pfn as usize) {
                // What is not there must not look like an ordinary page.
                *slot = *kind;
            }
        }
        let with_data: Vec<(u64, PageType)> = with_data.copied().collect();
        self.write_pages(&with_data, data)?;
        if let Some((pfn, _)) = pages.last() {
            progress(pfn + 1, self.frames.len() as u64);
        }
        Ok(())
    }

    fn write_pages(
        &mut self,
        pages: &[(u64, PageType)],
        data: &[u8],
    ) -> Result<(), MigrationError> {
        if pages.is_empty() {
            return Ok(());
        }
        let mut contents = data.to_vec();
        for (page, (_, kind)) in contents.chunks_exact_mut(PAGE as usize).zip(pages) {
            let Some(level) = kind.level() else { continue };
            let mut table = [0; ENTRIES];
            table.as_mut_bytes().copy_from_slice(page);
            // Frames that a table names may come later.
            let mut named = Vec::new();
            page_table::translate(&mut table, level, |pfn| {
                named.push(pfn);
                Ok(pfn)
            })?;
            self.populate(named.into_iter())?;
            page_table::translate(&mut table, level, |pfn| {
                self.frame(pfn, "an entry of a page table")
            })?;
            page.copy_from_slice(table.as_bytes());
        }
        let frames = pages
            .iter()
            .map(|(pfn, _)| self.frame(*pfn, "a page"))
            .collect::<Result<Vec<_>, _>>()?;
        let memory = self.xen.map_frames(self.request.domain, &frames, true)?;
        memory.write(0, &contents);
        Ok(())
    }

    fn take_tsc(&mut self, record: &Record) -> Result<(), MigrationError> {
        let nanoseconds = u64::from(record.u32(8)?) | u64::from(record.u32(12)?) << 32;
        let info = DomctlTscInfo {
            tsc_mode: record.u32(0)?,
            gtsc_khz: record.u32(4)?,
            incarnation: record.u32(16)?,
            elapsed_nsec: nanoseconds,
            ..DomctlTscInfo::new_zeroed()
        };
        Ok(self.xen.set_tsc(self.request.domain, info)?)
    }

    fn take_vcpu(&mut self, record: &Record) -> Result<(), MigrationError> {
        let id = record.u32(0)?;
        if id >= self.request.vcpus {
            return format_error(format!(
                "it has a vCPU {id}; the configuration gives it {}",
                self.request.vcpus
            ));
        }
        let id = id as usize;
        if self.vcpus.len() <= id {
            self.vcpus.resize_with(id + 1, Vcpu::default);
        }
        let body = record.body.get(8..).unwrap_or_default().to_vec();
        if let Some(vcpu) = self.vcpus.get_mut(id) {
            match record.kind {
                kind::VCPU_BASIC => vcpu.basic = body,
                kind::VCPU_EXTENDED => vcpu.extended = body,
                kind::VCPU_XSAVE => vcpu.xsave = body,
                _ => vcpu.msrs = body,
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Restored, MigrationError> {
        self.pin()?;
        self.write_p2m()?;
        self.write_shared_info()?;
        let mut restored = None;
        for (id, vcpu) in (0..).zip(std::mem::take(&mut self.vcpus)) {
            if vcpu.basic.is_empty() {
                continue;
            }
            let Ok(mut context) = VcpuGuestContext::read_from_bytes(&vcpu.basic) else {
                return format_error(format!("the registers of vCPU {id} have the wrong length"));
            };
            if id == 0 {
                restored = Some(self.start_info(&mut context)?);
            }
            self.vcpu(id, &mut context, &vcpu)?;
        }
        restored.map_or_else(|| format_error("it has no vCPU 0"), Ok)
    }

    fn pin(&self) -> Result<(), MigrationError> {
        let tables: Vec<(MmuextCmd, u64)> = self
            .types
            .iter()
            .zip(&self.frames)
            .filter(|(kind, _)| kind.is_pinned())
            .filter_map(|(kind, frame)| {
                let cmd = match kind.level()? {
                    1 => MmuextCmd::PIN_L1_TABLE,
                    2 => MmuextCmd::PIN_L2_TABLE,
                    3 => MmuextCmd::PIN_L3_TABLE,
                    _ => MmuextCmd::PIN_L4_TABLE,
                };
                Some((cmd, *frame))
            })
            .collect();
        for batch in tables.chunks(BATCH) {
            self.xen.pin_tables(self.request.domain, batch)?;
        }
        Ok(())
    }

    /// Tells the guest where its frames are now.
    fn write_p2m(&self) -> Result<(), MigrationError> {
        let holders = self
            .holders
            .iter()
            .map(|pfn| self.plain_frame(*pfn, "a part of its list of frames"))
            .collect::<Result<Vec<_>, _>>()?;
        for (frames, holders) in self
            .frames
            .chunks(BATCH * ENTRIES)
            .zip(holders.chunks(BATCH))
        {
            let memory = self.xen.map_frames(self.request.domain, holders, true)?;
            memory.write(0, frames.as_bytes());
            let end = frames.len() * 8;
            memory.fill(end, memory.len() - end, 0xff);
        }
        Ok(())
    }

    fn write_shared_info(&self) -> Result<(), MigrationError> {
        let Some(saved) = &self.shared else {
            return format_error("it has no shared page");
        };
        let domain = self.request.domain;
        let Some(info) = self.xen.domain_info(domain)? else {
            return format_error("the domain has gone");
        };
        let page = self
            .xen
            .map_frames(domain, &[info.shared_info_frame], true)?;
        let mut shared = saved.clone();
        let mut clear = |at: usize, len: usize, byte: u8| {
            if let Some(bytes) = shared.get_mut(at..at + len) {
                bytes.fill(byte);
            }
        };
        // Ports are new, and so are the frames of the list.
        clear(offset_of!(SharedInfo, evtchn_pending), 512, 0);
        clear(offset_of!(SharedInfo, evtchn_mask), 512, 0xff);
        for vcpu in 0..32 {
            let at = vcpu * size_of::<VcpuInfo>() + offset_of!(VcpuInfo, evtchn_pending_sel);
            clear(offset_of!(SharedInfo, vcpu_info) + at, 8, 0);
        }
        let arch = offset_of!(SharedInfo, arch);
        clear(
            arch + offset_of!(ArchSharedInfo, pfn_to_mfn_frame_list_list),
            8,
            0,
        );
        let keep = [
            // The wall clock is the hypervisor's.
            offset_of!(SharedInfo, vcpu_info)..offset_of!(SharedInfo, wc_version),
            arch..arch + size_of::<ArchSharedInfo>(),
        ];
        for range in keep {
            page.write(range.start, shared.get(range).unwrap_or_default());
        }
        Ok(())
    }

    /// Puts the new frames and ports into start_info, which vCPU 0's RDX names.
    fn start_info(&self, context: &mut VcpuGuestContext) -> Result<Restored, MigrationError> {
        let domain = self.request.domain;
        let frame = self.plain_frame(context.user_regs.rdx, "its start_info")?;
        context.user_regs.rdx = frame;
        let Some(info) = self.xen.domain_info(domain)? else {
            return format_error("the domain has gone");
        };
        let page = self.xen.map_frames(domain, &[frame], true)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            page.read(at, &mut word);
            u64::from_le_bytes(word)
        };
        let console = offset_of!(StartInfo, console);
        let console_at = console + offset_of!(StartInfoConsoleDomU, mfn);
        let store_mfn = self.frame(word(offset_of!(StartInfo, store_mfn)), "the store's ring")?;
        let console_mfn = self.frame(word(console_at), "the console's ring")?;
        let put = |memory: &dyn GuestMemory, at: usize, bytes: &[u8]| memory.write(at, bytes);
        let numbers = [
            (offset_of!(StartInfo, nr_pages), self.frames.len() as u64),
            (
                offset_of!(StartInfo, shared_info),
                info.shared_info_frame << 12,
            ),
            (offset_of!(StartInfo, store_mfn), store_mfn),
            (console_at, console_mfn),
        ];
        for (at, number) in numbers {
            put(&*page, at, &number.to_le_bytes());
        }
        let ports = [
            (offset_of!(StartInfo, flags), 0),
            (offset_of!(StartInfo, store_evtchn), self.request.store_port),
            (
                console + offset_of!(StartInfoConsoleDomU, evtchn),
                self.request.console_port,
            ),
        ];
        for (at, number) in ports {
            put(&*page, at, &number.to_le_bytes());
        }
        Ok(Restored {
            store_mfn,
            console_mfn,
        })
    }

    fn vcpu(
        &self,
        id: u32,
        context: &mut VcpuGuestContext,
        vcpu: &Vcpu,
    ) -> Result<(), MigrationError> {
        let (xen, domain) = (self.xen, self.request.domain);
        let frames = usize::try_from(context.gdt_ents)
            .unwrap_or(usize::MAX)
            .div_ceil(ENTRIES);
        let Some(frames) = context.gdt_frames.get_mut(..frames) else {
            return format_error(format!("the GDT of vCPU {id} is too long"));
        };
        for frame in frames {
            *frame = self.plain_frame(*frame, "a GDT")?;
        }
        context.flags |= hypercall_abi::arch_x86::VgcfFlags::ONLINE.bits();
        context.ctrlreg[3] = pfn_to_cr3(self.root(cr3_to_pfn(context.ctrlreg[3]))?);
        if context.ctrlreg[1] & 1 != 0 {
            context.ctrlreg[1] = self.root(context.ctrlreg[1] >> 12)? << 12;
        }
        xen.set_vcpu_context(domain, id, context)?;
        if !vcpu.extended.is_empty() {
            let mut extended = DomctlExtVcpucontext::new_zeroed();
            let len = vcpu.extended.len().min(size_of::<DomctlExtVcpucontext>());
            extended.as_mut_bytes()[..len].copy_from_slice(&vcpu.extended[..len]);
            extended.vcpu = id;
            xen.set_ext_vcpu_context(domain, extended)?;
        }
        if !vcpu.xsave.is_empty() {
            xen.set_vcpu_xsave(domain, id, &vcpu.xsave)?;
        }
        if !vcpu.msrs.is_empty() {
            xen.set_vcpu_msrs(domain, id, &vcpu.msrs)?;
        }
        Ok(())
    }

    /// The machine frame of the level-4 table `pfn`.
    fn root(&self, pfn: u64) -> Result<u64, MigrationError> {
        let frame = self.frame(pfn, "the root of its page tables")?;
        let kind = self.types.get(pfn as usize).and_then(|kind| kind.level());
        if kind == Some(4) {
            Ok(frame)
        } else {
            format_error(format!(
                "the root of its page tables, guest frame {pfn:#x}, is none"
            ))
        }
    }
}

/// Bits of a word of PAGE_DATA that hold the frame.
const FRAME_MASK: u64 = (1 << 52) - 1;
