//! Xen's ELF notes: decoding, defaults and the checks that decide whether a kernel can be dom0.
//!
//! Contract: public/elfnote.h (types, defaults, legacy meanings) and the messages of Xen 4.17's
//! domain builder. Numeric notes may be 1, 2, 4 or 8 bytes wide; strings end at their NUL.

use core::ops::Range;

use hypercall_abi::elfnote::ElfNoteType;
use hypercall_abi::features::Feature;

use super::KernelError;
use super::features::{Features, bit};

/// Name of the notes' owner, with its NUL.
const OWNER: &[u8] = b"Xen\0";

/// PAE_MODE. For a 64-bit kernel it only decides the end of `start_info.magic` and whether the
/// VM assist `pae_extended_cr3` is preset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaeMode {
    /// "no", or absent.
    #[default]
    No,
    /// "yes" in the legacy section: PAE, but page directories below 4 GiB.
    Yes,
    /// "yes" in a note, or "yes[extended-cr3]".
    ExtendedCr3,
    /// "bimodal".
    Bimodal,
}

/// What a kernel says about itself. An absent note is `None`, or its documented default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XenNotes<'a> {
    /// ENTRY; by default the ELF header's entry.
    pub entry: Option<u64>,
    /// HYPERCALL_PAGE: where to write the hypercall page.
    pub hypercall_page: Option<u64>,
    /// VIRT_BASE: virtual address of PFN 0; by default 0.
    pub virt_base: Option<u64>,
    /// PADDR_OFFSET: what to subtract from `p_paddr`; by default 0.
    pub paddr_offset: Option<u64>,
    /// XEN_VERSION.
    pub xen_version: Option<&'a [u8]>,
    /// GUEST_OS.
    pub guest_os: Option<&'a [u8]>,
    /// GUEST_VERSION.
    pub guest_version: Option<&'a [u8]>,
    /// LOADER.
    pub loader: Option<&'a [u8]>,
    /// PAE_MODE.
    pub pae: PaeMode,
    /// FEATURES and SUPPORTED_FEATURES together.
    pub features: Features,
    /// Whether SUPPORTED_FEATURES is there: then it must include dom0.
    pub has_supported_features: bool,
    /// BSD_SYMTAB: the kernel wants its symbol table loaded behind it.
    pub bsd_symtab: bool,
    /// HV_START_LOW: lowest address of a hypervisor that the kernel tolerates.
    pub hv_start_low: Option<u64>,
    /// L1_MFN_VALID: mask and value of an L1 entry that contains an MFN.
    pub l1_mfn_valid: Option<(u64, u64)>,
    /// SUSPEND_CANCEL.
    pub suspend_cancel: bool,
    /// INIT_P2M: where to map the P2M; by default it lies in the initial mapping.
    pub init_p2m: Option<u64>,
    /// MOD_START_PFN: the initrd need not be mapped.
    pub mod_start_pfn: bool,
    /// PHYS32_ENTRY: entry as PVH guest; of no use to a PV guest.
    pub phys32_entry: Option<u64>,
}

/// Where the image lies, in virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Virtual address of PFN 0.
    pub virt_base: u64,
    /// What to subtract from `p_paddr` to get a pseudo-physical address.
    pub paddr_offset: u64,
    /// From the first to the last loaded byte.
    pub image: Range<u64>,
    /// Initial RIP.
    pub entry: u64,
}

impl<'a> XenNotes<'a> {
    /// Adds the Xen notes among the records of `data`; whether there were any.
    ///
    /// Records of other owners and of unknown types are skipped; a record that runs past the end
    /// ends the list.
    pub(super) fn add_records(&mut self, data: &'a [u8]) -> Result<bool, KernelError> {
        let mut rest = data;
        let mut found = false;
        while let Some((record, next)) = Record::split(rest) {
            if record.owner == OWNER {
                found = true;
                self.add(&record)?;
            }
            rest = next;
        }
        Ok(found)
    }

    fn add(&mut self, note: &Record<'a>) -> Result<(), KernelError> {
        match ElfNoteType(note.kind) {
            ElfNoteType::ENTRY => self.entry = Some(note.number("ENTRY")?),
            ElfNoteType::HYPERCALL_PAGE => {
                self.hypercall_page = Some(note.number("HYPERCALL_PAGE")?)
            }
            ElfNoteType::VIRT_BASE => self.virt_base = Some(note.number("VIRT_BASE")?),
            ElfNoteType::PADDR_OFFSET => self.paddr_offset = Some(note.number("PADDR_OFFSET")?),
            ElfNoteType::XEN_VERSION => self.xen_version = Some(note.string()),
            ElfNoteType::GUEST_OS => self.guest_os = Some(note.string()),
            ElfNoteType::GUEST_VERSION => self.guest_version = Some(note.string()),
            ElfNoteType::LOADER => self.loader = Some(note.string()),
            ElfNoteType::PAE_MODE => self.pae = PaeMode::of_note(note.string()),
            ElfNoteType::FEATURES => self.features.add_names(note.string())?,
            ElfNoteType::BSD_SYMTAB => self.bsd_symtab = note.string() == b"yes",
            ElfNoteType::HV_START_LOW => self.hv_start_low = Some(note.number("HV_START_LOW")?),
            ElfNoteType::L1_MFN_VALID => {
                self.l1_mfn_valid = Some(note.number_pair("L1_MFN_VALID")?)
            }
            ElfNoteType::SUSPEND_CANCEL => {
                self.suspend_cancel = note.number("SUSPEND_CANCEL")? != 0
            }
            ElfNoteType::INIT_P2M => self.init_p2m = Some(note.number("INIT_P2M")?),
            ElfNoteType::MOD_START_PFN => self.mod_start_pfn = note.number("MOD_START_PFN")? != 0,
            ElfNoteType::SUPPORTED_FEATURES => {
                // Submap 0 is the low half; no other submap exists.
                #[expect(clippy::cast_possible_truncation, reason = "submap 0 only")]
                let low = note.number("SUPPORTED_FEATURES")? as u32;
                self.features.supported |= low;
                self.has_supported_features = true;
            }
            ElfNoteType::PHYS32_ENTRY => self.phys32_entry = Some(note.number("PHYS32_ENTRY")?),
            _ => {}
        }
        Ok(())
    }

    /// Whether the kernel can be dom0.
    pub(super) fn check_dom0(&self) -> Result<(), KernelError> {
        if self.has_supported_features && self.features.supported & bit(Feature::DOM0) == 0 {
            return Err(KernelError::NotADom0Kernel);
        }
        Ok(())
    }

    /// Whether the kernel is built for this interface.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        let starts = |value: Option<&[u8]>, with: &[u8]| value.is_some_and(|v| v.starts_with(with));
        if !starts(self.loader, b"generic") && !starts(self.guest_os, b"linux") {
            return Err(KernelError::WrongLoader);
        }
        if !starts(self.xen_version, b"xen-3.0") {
            return Err(KernelError::WrongXenVersion);
        }
        if self.features.required & bit(Feature::SUPERVISOR_MODE_KERNEL) != 0 {
            return Err(KernelError::RequiredFeature("supervisor_mode_kernel"));
        }
        Ok(())
    }

    /// The image's virtual addresses, for physical addresses `span` and the ELF entry.
    pub(super) fn place(&self, span: Range<u64>, elf_entry: u64) -> Result<Placement, KernelError> {
        if self.paddr_offset.is_some() && self.virt_base.is_none() {
            return Err(KernelError::PaddrOffsetWithoutVirtBase);
        }
        let virt_base = self.virt_base.unwrap_or(0);
        let paddr_offset = self.paddr_offset.unwrap_or(0);
        let virtual_of = |paddr: u64| {
            paddr
                .checked_sub(paddr_offset)
                .and_then(|offset| virt_base.checked_add(offset))
        };
        // Below PFN 0, or past the end of the address space.
        let (Some(start), Some(end)) = (virtual_of(span.start), virtual_of(span.end)) else {
            return Err(KernelError::OutOfImage("VIRT_BASE"));
        };
        if !virt_base.is_multiple_of(4096) || !canonical(virt_base) || !canonical(end) {
            return Err(KernelError::BadAddress("VIRT_BASE"));
        }
        let entry = self.entry.unwrap_or(elf_entry);
        if entry < start || entry > end {
            return Err(KernelError::OutOfImage("ENTRY"));
        }
        if let Some(p2m) = self.init_p2m {
            if !p2m.is_multiple_of(4096) || !canonical(p2m) {
                return Err(KernelError::BadAddress("INIT_P2M"));
            }
            if (start..end).contains(&p2m) {
                return Err(KernelError::P2mOverlapsMapping);
            }
        }
        Ok(Placement {
            virt_base,
            paddr_offset,
            image: start..end,
            entry,
        })
    }
}

/// Whether `address` is canonical with 48 bits.
pub(super) fn canonical(address: u64) -> bool {
    let high = address >> 47;
    high == 0 || high == (1 << 17) - 1
}

impl PaeMode {
    fn of_note(value: &[u8]) -> Self {
        if value == b"yes" {
            Self::ExtendedCr3
        } else if value.windows(7).any(|part| part == b"bimodal") {
            Self::Bimodal
        } else {
            Self::No
        }
    }
}

/// One note record.
struct Record<'a> {
    kind: u32,
    owner: &'a [u8],
    desc: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of `data` and what follows it.
    fn split(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&name_size, rest) = data.split_first_chunk()?;
        let (&desc_size, rest) = rest.split_first_chunk()?;
        let (&kind, rest) = rest.split_first_chunk()?;
        let (owner, rest) = padded(rest, u32::from_le_bytes(name_size))?;
        let (desc, rest) = padded(rest, u32::from_le_bytes(desc_size))?;
        Some((
            Self {
                kind: u32::from_le_bytes(kind),
                owner,
                desc,
            },
            rest,
        ))
    }

    fn number(&self, name: &'static str) -> Result<u64, KernelError> {
        number(self.desc).ok_or(KernelError::BadNote(name))
    }

    fn number_pair(&self, name: &'static str) -> Result<(u64, u64), KernelError> {
        let (mask, value) = self.desc.split_at(self.desc.len() / 2);
        number(mask)
            .zip(number(value))
            .ok_or(KernelError::BadNote(name))
    }

    /// The bytes before the NUL.
    fn string(&self) -> &'a [u8] {
        self.desc
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or_default()
    }
}

/// Splits `size` bytes and their padding to a multiple of four from `data`. The padding of the
/// last record may be missing.
fn padded(data: &[u8], size: u32) -> Option<(&[u8], &[u8])> {
    let size = size as usize;
    let (field, _) = data.split_at_checked(size)?;
    Some((
        field,
        data.get(size.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

fn number(bytes: &[u8]) -> Option<u64> {
    if !matches!(bytes.len(), 1 | 2 | 4 | 8) {
        return None;
    }
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
pub(super) mod tests;
