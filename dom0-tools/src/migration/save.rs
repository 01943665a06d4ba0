//! Writing a suspended domain.

use std::io::Write;

use hypercall_abi::arch_x86::VcpuGuestContext;
use hypercall_abi::arch_x86::xen_x86_64::{cr3_to_pfn, pfn_to_cr3};
use hypercall_abi::domctl::DomctlGetdomaininfo;
use zerocopy::IntoBytes as _;

use super::p2m::P2m;
use super::page_table::{self, ENTRIES, PageType};
use super::record::{self, kind};
use super::{BATCH, INVALID, MigrationError, frame_limit, guest_error};
use crate::xen::{PAGE, Xen};

/// Bytes of a PV guest's pointers, and levels of its page tables.
const PV_INFO: [u8; 8] = [8, 4, 0, 0, 0, 0, 0, 0];

/// Writes the domain of `info`, which has suspended itself. `progress` is told how many of how many frames are done.
///
/// # Errors
/// The guest's tables do not hold together, the hypervisor refuses, or `out` cannot be written.
pub fn save(
    xen: &dyn Xen,
    info: &DomctlGetdomaininfo,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), MigrationError> {
    let domain = info.domain;
    let shared = xen.map_frames(domain, &[info.shared_info_frame], false)?;
    let limit = frame_limit(info.max_pages.max(info.tot_pages).min(1 << 34));
    let p2m = P2m::read(xen, domain, &*shared, limit)?;
    let saver = Saver { xen, info, p2m };

    record::begin_libxl(out)?;
    let version = xen.version()?;
    record::begin(out, (version.major as u32, version.minor as u32))?;
    record::write(out, kind::PV_INFO, &[&PV_INFO])?;
    let (leaves, msrs) = xen.domain_policy(domain)?;
    for (kind, body) in [(kind::CPUID_POLICY, leaves), (kind::MSR_POLICY, msrs)] {
        if !body.is_empty() {
            record::write(out, kind, &[&body])?;
        }
    }
    record::write(out, kind::STATIC_DATA_END, &[])?;
    saver.p2m_frames(out)?;
    saver.pages(out, progress)?;
    saver.tsc(out)?;
    let mut page = [0; PAGE as usize];
    shared.read(0, &mut page);
    record::write(out, kind::SHARED_INFO, &[&page])?;
    for vcpu in 0..=info.max_vcpu_id {
        if xen.vcpu_info(domain, vcpu)?.online != 0 {
            saver.vcpu(out, vcpu)?;
        }
    }
    record::write(out, kind::END, &[])?;
    record::write(out, record::libxl::END, &[])
}

struct Saver<'a> {
    xen: &'a dyn Xen,
    info: &'a DomctlGetdomaininfo,
    p2m: P2m,
}

impl Saver<'_> {
    fn p2m_frames(&self, out: &mut dyn Write) -> Result<(), MigrationError> {
        let last = self.p2m.frames.len() as u32 - 1;
        let range = [0, last];
        let parts: [&[u8]; 2] = [range.as_bytes(), self.p2m.holders.as_bytes()];
        record::write(out, kind::PV_P2M_FRAMES, &parts)
    }

    fn pages(
        &self,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), MigrationError> {
        let total = self.p2m.frames.len() as u64;
        let frames: Vec<(u64, u64)> = (0..)
            .zip(self.p2m.frames.iter().copied())
            .filter(|(_, frame)| *frame != INVALID)
            .collect();
        for batch in frames.chunks(BATCH) {
            self.batch(out, batch)?;
            progress(batch.last().map_or(0, |(pfn, _)| pfn + 1), total);
        }
        Ok(())
    }

    /// One record: guest frames and the machine frames that they are.
    fn batch(&self, out: &mut dyn Write, batch: &[(u64, u64)]) -> Result<(), MigrationError> {
        let domain = self.info.domain;
        let mut types: Vec<u64> = batch.iter().map(|(_, frame)| *frame).collect();
        self.xen.page_types(domain, &mut types)?;
        let types: Vec<PageType> = types.iter().map(|word| PageType::of_info(*word)).collect();
        let mapped: Vec<u64> = batch
            .iter()
            .zip(&types)
            .filter(|(_, kind)| kind.has_data())
            .map(|((_, frame), _)| *frame)
            .collect();
        let head = [batch.len() as u32, 0];
        let words: Vec<u64> = batch
            .iter()
            .zip(&types)
            .map(|((pfn, _), kind)| pfn | u64::from(kind.0) << 60)
            .collect();
        let mut data = vec![0; mapped.len() * PAGE as usize];
        if !mapped.is_empty() {
            self.xen
                .map_frames(domain, &mapped, false)?
                .read(0, &mut data);
        }
        let tables = types.iter().filter(|kind| kind.has_data());
        for (page, kind) in data.chunks_exact_mut(PAGE as usize).zip(tables) {
            if let Some(level) = kind.level() {
                self.normalise(page, level)?;
            }
        }
        record::write(
            out,
            kind::PAGE_DATA,
            &[head.as_bytes(), words.as_bytes(), &data],
        )
    }

    /// Puts guest frames into the page table `page`.
    fn normalise(&self, page: &mut [u8], level: u32) -> Result<(), MigrationError> {
        let mut table = [0; ENTRIES];
        table.as_mut_bytes().copy_from_slice(page);
        page_table::translate(&mut table, level, |frame| {
            self.p2m.guest_frame(frame, "a page table")
        })?;
        page.copy_from_slice(table.as_bytes());
        Ok(())
    }

    fn tsc(&self, out: &mut dyn Write) -> Result<(), MigrationError> {
        let tsc = self.xen.tsc(self.info.domain)?;
        let mut body = Vec::new();
        body.extend(tsc.tsc_mode.to_le_bytes());
        body.extend(tsc.gtsc_khz.to_le_bytes());
        body.extend(tsc.elapsed_nsec.to_le_bytes());
        body.extend(tsc.incarnation.to_le_bytes());
        body.extend([0; 4]);
        record::write(out, kind::TSC_INFO, &[&body])
    }

    fn vcpu(&self, out: &mut dyn Write, vcpu: u32) -> Result<(), MigrationError> {
        let (xen, domain) = (self.xen, self.info.domain);
        let mut context = xen.vcpu_context(domain, vcpu)?;
        self.normalise_context(&mut context, vcpu)?;
        let extended = xen.ext_vcpu_context(domain, vcpu)?;
        let extended_len = (extended.size as usize).min(extended.as_bytes().len());
        let xsave = xen.vcpu_xsave(domain, vcpu)?;
        let msrs = xen.vcpu_msrs(domain, vcpu)?;
        let head = [vcpu, 0];
        for (kind, body) in [
            (kind::VCPU_BASIC, context.as_bytes()),
            (kind::VCPU_EXTENDED, &extended.as_bytes()[..extended_len]),
            (kind::VCPU_XSAVE, &xsave),
            (kind::VCPU_MSRS, &msrs),
        ] {
            if !body.is_empty() {
                record::write(out, kind, &[head.as_bytes(), body])?;
            }
        }
        Ok(())
    }

    /// Puts guest frames in place of machine frames in a vCPU's registers.
    fn normalise_context(
        &self,
        context: &mut VcpuGuestContext,
        vcpu: u32,
    ) -> Result<(), MigrationError> {
        if vcpu == 0 {
            // The argument of the suspension.
            let start_info = context.user_regs.rdx;
            context.user_regs.rdx = self.p2m.guest_frame(start_info, "its start_info")?;
        }
        let frames = (context.gdt_ents as usize).div_ceil(ENTRIES);
        let Some(frames) = context.gdt_frames.get_mut(..frames) else {
            return guest_error(format!(
                "vCPU {vcpu} has a GDT of {} entries",
                context.gdt_ents
            ));
        };
        for frame in frames {
            *frame = self.p2m.guest_frame(*frame, "a GDT")?;
        }
        let root = cr3_to_pfn(context.ctrlreg[3]);
        context.ctrlreg[3] = pfn_to_cr3(self.p2m.guest_frame(root, "CR3")?);
        if context.ctrlreg[1] != 0 {
            let root = context.ctrlreg[1] >> 12;
            let pfn = self
                .p2m
                .guest_frame(root, "the page table of its programs")?;
            context.ctrlreg[1] = pfn << 12 | 1;
        }
        Ok(())
    }
}

/// Lets the domain of `info`, whose suspension was called off or is over, go on where it asked for it.
///
/// # Errors
/// The hypervisor refuses.
pub fn resume(xen: &dyn Xen, info: &DomctlGetdomaininfo) -> Result<(), MigrationError> {
    let mut context = xen.vcpu_context(info.domain, 0)?;
    // What the call returns in the domain that was not restored.
    context.user_regs.rax = 1;
    xen.set_vcpu_context(info.domain, 0, &context)?;
    xen.resume_domain(info.domain)?;
    Ok(())
}
