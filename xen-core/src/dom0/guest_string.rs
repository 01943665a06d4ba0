//! The section `__xen_guest` of kernels that predate ELF notes: `KEY=value,KEY=value,...`.
//!
//! Contract: the LEGACY remarks in public/elfnote.h.

use super::KernelError;
use super::notes::{PaeMode, XenNotes};

/// Decodes the section's string.
pub(super) fn parse(section: &[u8]) -> Result<XenNotes<'_>, KernelError> {
    let mut notes = XenNotes::default();
    let mut hypercall_frame = None;
    let string = section.split(|&byte| byte == 0).next().unwrap_or_default();
    for pair in string.split(|&byte| byte == b',') {
        let pair = pair.trim_ascii();
        let equals = pair
            .iter()
            .position(|&byte| byte == b'=')
            .unwrap_or(pair.len());
        let (key, value) = pair.split_at(equals);
        let value = value.strip_prefix(b"=").unwrap_or(value);
        match key {
            b"LOADER" => notes.loader = Some(value),
            b"GUEST_OS" => notes.guest_os = Some(value),
            b"GUEST_VER" => notes.guest_version = Some(value),
            b"XEN_VER" => notes.xen_version = Some(value),
            b"PAE" => notes.pae = pae(value),
            b"FEATURES" => notes.features.add_names(value)?,
            b"BSD_SYMTAB" => notes.bsd_symtab = true,
            b"VIRT_BASE" => notes.virt_base = Some(number(value, "VIRT_BASE")?),
            b"VIRT_ENTRY" => notes.entry = Some(number(value, "VIRT_ENTRY")?),
            b"ELF_PADDR_OFFSET" => {
                notes.paddr_offset = Some(number(value, "ELF_PADDR_OFFSET")?);
            }
            b"HYPERCALL_PAGE" => hypercall_frame = Some(number(value, "HYPERCALL_PAGE")?),
            _ => {}
        }
    }
    // The legacy default of the offset is VIRT_BASE, and the hypercall page is a frame number.
    let virt_base = notes.virt_base.unwrap_or(0);
    if notes.virt_base.is_some() {
        notes.paddr_offset.get_or_insert(virt_base);
    }
    notes.hypercall_page = hypercall_frame
        .map(|frame| {
            let offset = frame.checked_mul(4096);
            let address = offset.and_then(|offset| virt_base.checked_add(offset));
            address.ok_or(KernelError::BadNote("HYPERCALL_PAGE"))
        })
        .transpose()?;
    Ok(notes)
}

fn pae(value: &[u8]) -> PaeMode {
    let contains = |part: &[u8]| value.windows(part.len()).any(|window| window == part);
    if contains(b"[extended-cr3]") {
        PaeMode::ExtendedCr3
    } else if contains(b"bimodal") {
        PaeMode::Bimodal
    } else if value.starts_with(b"yes") {
        PaeMode::Yes
    } else {
        PaeMode::No
    }
}

/// A number as `strtoull` with base 0 reads it: hexadecimal after 0x, octal after 0, else decimal.
fn number(value: &[u8], name: &'static str) -> Result<u64, KernelError> {
    let text = core::str::from_utf8(value).map_err(|_| KernelError::BadNote(name))?;
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    u64::from_str_radix(digits, radix).map_err(|_| KernelError::BadNote(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_xen_3_0() {
        let notes = parse(
            b"GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xFFFFFFFF80000000,\
              HYPERCALL_PAGE=0x103,PAE=yes[extended-cr3],FEATURES=writable_page_tables,\
              LOADER=generic,BSD_SYMTAB,SOMETHING=else\0garbage,VIRT_BASE=1",
        )
        .unwrap();
        assert_eq!(notes.virt_base, Some(0xffff_ffff_8000_0000));
        assert_eq!(notes.paddr_offset, notes.virt_base);
        assert_eq!(notes.hypercall_page, Some(0xffff_ffff_8010_3000));
        assert_eq!(notes.guest_os, Some(&b"linux"[..]));
        assert_eq!(notes.guest_version, Some(&b"2.6"[..]));
        assert_eq!(notes.pae, PaeMode::ExtendedCr3);
        assert_eq!(notes.features.supported, 1);
        assert!(notes.bsd_symtab);
        assert_eq!(notes.check(), Ok(()));
    }

    #[test]
    fn numbers_of_every_base() {
        let notes = parse(b"VIRT_BASE=4096,VIRT_ENTRY=020000,ELF_PADDR_OFFSET=0").unwrap();
        assert_eq!(
            (notes.virt_base, notes.entry, notes.paddr_offset),
            (Some(4096), Some(8192), Some(0))
        );
        assert_eq!(
            parse(b"VIRT_BASE=high"),
            Err(KernelError::BadNote("VIRT_BASE"))
        );
        assert_eq!(
            parse(b"HYPERCALL_PAGE=0xfffffffffffffff"),
            Err(KernelError::BadNote("HYPERCALL_PAGE"))
        );
    }
}
