//! Debian's notes, every width of number, defaults and refusals.

extern crate std;

use std::vec::Vec;

use super::*;

/// One note record.
pub(in crate::dom0) fn note(owner: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    for field in [owner.len() as u32, desc.len() as u32, kind] {
        record.extend(field.to_le_bytes());
    }
    for field in [owner, desc] {
        record.extend(field);
        record.resize(record.len().next_multiple_of(4), 0);
    }
    record
}

pub(in crate::dom0) fn number_note(kind: u32, value: u64) -> Vec<u8> {
    note(OWNER, kind, &value.to_le_bytes())
}

pub(in crate::dom0) fn string_note(kind: u32, value: &str) -> Vec<u8> {
    let mut desc = value.as_bytes().to_vec();
    desc.push(0);
    note(OWNER, kind, &desc)
}

/// The notes of Debian's 6.1.192.
pub(in crate::dom0) fn debian_notes() -> Vec<u8> {
    let mut valid = 1u64.to_le_bytes().to_vec();
    valid.extend(1u64.to_le_bytes());
    [
        string_note(6, "linux"),
        string_note(7, "2.6"),
        string_note(5, "xen-3.0"),
        number_note(3, 0xffff_ffff_8000_0000),
        number_note(15, 0x80_0000_0000),
        number_note(1, 0xffff_ffff_8307_91c0),
        string_note(10, "!writable_page_tables|pae_pgdir_above_4gb"),
        note(OWNER, 17, &0x8801u32.to_le_bytes()),
        string_note(9, "yes"),
        string_note(8, "generic"),
        note(OWNER, 13, &valid),
        note(OWNER, 14, &1u32.to_le_bytes()),
        note(OWNER, 16, &1u32.to_le_bytes()),
        number_note(12, 0xffff_8000_0000_0000),
        number_note(4, 0),
        note(OWNER, 18, &0x100_0850u32.to_le_bytes()),
    ]
    .concat()
}

fn decode(records: &[u8]) -> XenNotes<'_> {
    let mut notes = XenNotes::default();
    notes.add_records(records).unwrap();
    notes
}

#[test]
fn debians_notes() {
    let records = debian_notes();
    assert_eq!(
        decode(&records),
        XenNotes {
            entry: Some(0xffff_ffff_8307_91c0),
            hypercall_page: None,
            virt_base: Some(0xffff_ffff_8000_0000),
            paddr_offset: Some(0),
            xen_version: Some(b"xen-3.0"),
            guest_os: Some(b"linux"),
            guest_version: Some(b"2.6"),
            loader: Some(b"generic"),
            pae: PaeMode::ExtendedCr3,
            features: Features {
                supported: 0x8811,
                required: 1
            },
            has_supported_features: true,
            bsd_symtab: false,
            hv_start_low: Some(0xffff_8000_0000_0000),
            l1_mfn_valid: Some((1, 1)),
            suspend_cancel: true,
            init_p2m: Some(0x80_0000_0000),
            mod_start_pfn: true,
            phys32_entry: Some(0x100_0850),
        }
    );
    assert_eq!(decode(&records).check(), Ok(()));
}

#[test]
fn numbers_of_every_width() {
    let value = 0x0102_0304_0506_0708u64.to_le_bytes();
    for width in 0..=9 {
        let mut bytes = value.to_vec();
        bytes.push(0);
        let record = note(OWNER, 3, &bytes[..width]);
        let mut notes = XenNotes::default();
        let result = notes.add_records(&record);
        if matches!(width, 1 | 2 | 4 | 8) {
            let mask = u64::MAX >> (64 - 8 * width);
            assert_eq!(notes.virt_base, Some(0x0102_0304_0506_0708 & mask));
        } else {
            assert_eq!(result, Err(KernelError::BadNote("VIRT_BASE")));
        }
    }
}

#[test]
fn other_owners_and_unknown_types_are_skipped() {
    let records = [
        note(b"GNU\0", 3, &[0; 20]),
        number_note(999, 5),
        note(b"Xen", 3, &[0; 8]),
    ]
    .concat();
    let mut notes = XenNotes::default();
    assert_eq!(notes.add_records(&records[..32]), Ok(false));
    assert_eq!(notes.add_records(&records), Ok(true));
    assert_eq!(notes, XenNotes::default());
}

#[test]
fn a_record_that_runs_past_the_end_ends_the_list() {
    let mut records = number_note(3, 4096);
    records.extend(number_note(1, 4096));
    for cut in 1..24 {
        let notes = decode(&records[..records.len() - cut]);
        assert_eq!((notes.virt_base, notes.entry), (Some(4096), None));
    }
    let mut huge = number_note(3, 4096);
    huge[0..8].fill(0xff);
    assert_eq!(XenNotes::default().add_records(&huge), Ok(false));
}

#[test]
fn checks_refuse_what_xen_refuses() {
    let check = |records: &[Vec<u8>]| decode(&records.concat()).check();
    let version = string_note(5, "xen-3.0");
    let generic = string_note(8, "generic");
    let linux = string_note(6, "linux-something");
    assert_eq!(check(&[version.clone(), generic.clone()]), Ok(()));
    assert_eq!(check(&[version.clone(), linux.clone()]), Ok(()));
    assert_eq!(
        check(&[string_note(5, "xen-3.0-x86_64"), linux.clone()]),
        Ok(())
    );
    assert_eq!(
        check(&[
            version.clone(),
            string_note(8, "mine"),
            string_note(6, "other")
        ]),
        Err(KernelError::WrongLoader)
    );
    assert_eq!(
        check(core::slice::from_ref(&linux)),
        Err(KernelError::WrongXenVersion)
    );
    assert_eq!(
        check(&[linux.clone(), string_note(5, "xen-2.0")]),
        Err(KernelError::WrongXenVersion)
    );
    let base = [version, linux];
    let with = |extra: Vec<u8>| check(&[base.concat(), extra]);
    // What is no first domain may be a guest.
    let as_dom0 = |extra: Vec<u8>| decode(&[base.concat(), extra].concat()).check_dom0();
    assert_eq!(with(number_note(17, 0x8001)), Ok(()));
    assert_eq!(
        as_dom0(number_note(17, 0x8001)),
        Err(KernelError::NotADom0Kernel)
    );
    assert_eq!(as_dom0(number_note(17, 0x8801)), Ok(()));
    assert_eq!(
        as_dom0([number_note(17, 1), string_note(10, "dom0")].concat()),
        Ok(())
    );
    assert_eq!(
        with(string_note(10, "!supervisor_mode_kernel")),
        Err(KernelError::RequiredFeature("supervisor_mode_kernel"))
    );
    assert_eq!(with(string_note(10, "!writable_page_tables")), Ok(()));
}

#[test]
fn pae_modes() {
    let pae = |value| decode(&string_note(9, value)).pae;
    assert_eq!(pae("yes"), PaeMode::ExtendedCr3);
    assert_eq!(pae("yes,bimodal"), PaeMode::Bimodal);
    assert_eq!(pae("bimodal"), PaeMode::Bimodal);
    assert_eq!(pae("no"), PaeMode::No);
}

#[test]
fn placement_applies_the_offset() {
    let notes = XenNotes {
        virt_base: Some(0xffff_ffff_8000_0000),
        paddr_offset: Some(0x4000_0000),
        ..XenNotes::default()
    };
    let place = |span, entry| notes.place(span, entry);
    let placement = place(0x4010_0000..0x4020_0000, 0xffff_ffff_8010_0000).unwrap();
    assert_eq!(
        placement.image,
        0xffff_ffff_8010_0000..0xffff_ffff_8020_0000
    );
    // An image below PFN 0.
    assert_eq!(
        place(0x3fff_f000..0x4020_0000, 0xffff_ffff_8010_0000),
        Err(KernelError::OutOfImage("VIRT_BASE"))
    );
    for entry in [0xffff_ffff_800f_ffff, 0xffff_ffff_8020_0001, 0x100_0000] {
        assert_eq!(
            place(0x4010_0000..0x4020_0000, entry),
            Err(KernelError::OutOfImage("ENTRY"))
        );
    }
}

#[test]
fn addresses_are_checked() {
    let place = |notes: XenNotes<'_>, span: Range<u64>| notes.place(span, 0x1800);
    let span = 0x1000..0x9000;
    assert_eq!(
        place(
            XenNotes {
                paddr_offset: Some(0),
                ..XenNotes::default()
            },
            span.clone()
        ),
        Err(KernelError::PaddrOffsetWithoutVirtBase)
    );
    for base in [0x800, 0x8000_0000_0000, 0x7fff_ffff_f000] {
        assert_eq!(
            place(
                XenNotes {
                    virt_base: Some(base),
                    ..XenNotes::default()
                },
                span.clone()
            ),
            Err(KernelError::BadAddress("VIRT_BASE"))
        );
    }
    assert_eq!(
        place(
            XenNotes {
                virt_base: Some(!0xfff),
                ..XenNotes::default()
            },
            span.clone()
        ),
        Err(KernelError::OutOfImage("VIRT_BASE"))
    );
    let p2m_at = |at| {
        place(
            XenNotes {
                init_p2m: Some(at),
                ..XenNotes::default()
            },
            span.clone(),
        )
    };
    assert_eq!(p2m_at(0x2000), Err(KernelError::P2mOverlapsMapping));
    assert_eq!(
        p2m_at(0x80_0000_0800),
        Err(KernelError::BadAddress("INIT_P2M"))
    );
    assert_eq!(p2m_at(1 << 47), Err(KernelError::BadAddress("INIT_P2M")));
    assert!(p2m_at(0x80_0000_0000).is_ok());
}
