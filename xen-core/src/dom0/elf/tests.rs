//! Synthetic kernels: what loads where, where notes are found, and hostile headers.

extern crate std;

use std::string::ToString;
use std::vec;

use proptest::prelude::*;

use super::*;
use crate::dom0::notes::tests::{debian_notes, note, number_note, string_note};

mod image;

pub(in crate::dom0) use self::image::Image;

// Sizes and numbers of the System V ABI.
const HEADER: usize = 64;
const PROGRAM: usize = 56;
const SECTION: usize = 64;
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_X86_64: u16 = 62;
const TYPE_EXEC: u16 = 2;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const SHT_NOTE: u32 = 7;

/// Builds ELF files; the defaults are those of a 64-bit x86 kernel.
pub(in crate::dom0) struct ElfBuilder {
    pub entry: u64,
    program: Vec<([u64; 6], Vec<u8>)>,
    sections: Vec<(u32, &'static [u8], Vec<u8>)>,
}

impl ElfBuilder {
    pub fn new(entry: u64) -> Self {
        Self {
            entry,
            program: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// Adds a PT_LOAD.
    pub fn load(mut self, vaddr: u64, paddr: u64, data: &[u8], mem_size: u64) -> Self {
        self.program.push((
            [PT_LOAD.into(), 5, vaddr, paddr, mem_size, 0],
            data.to_vec(),
        ));
        self
    }

    /// Adds a program header of another kind.
    fn segment(mut self, kind: u32, flags: u32, data: &[u8]) -> Self {
        let size = data.len() as u64;
        self.program
            .push(([kind.into(), flags.into(), 0, 0, size, 0], data.to_vec()));
        self
    }

    pub fn notes(self, notes: &[u8]) -> Self {
        self.segment(PT_NOTE, 4, notes)
    }

    fn section(mut self, kind: u32, name: &'static [u8], data: &[u8]) -> Self {
        self.sections.push((kind, name, data.to_vec()));
        self
    }

    pub fn build(&self) -> Image {
        let mut out = vec![0; HEADER + PROGRAM * self.program.len()];
        let mut headers = Vec::new();
        for ([kind, flags, vaddr, paddr, mem_size, align], data) in &self.program {
            headers.extend((*kind as u32).to_le_bytes());
            headers.extend((*flags as u32).to_le_bytes());
            for field in [
                out.len() as u64,
                *vaddr,
                *paddr,
                data.len() as u64,
                *mem_size,
                *align,
            ] {
                headers.extend(field.to_le_bytes());
            }
            out.extend(data);
        }
        out[HEADER..HEADER + headers.len()].copy_from_slice(&headers);

        let mut names = vec![0];
        let mut table = vec![0; SECTION];
        let mut add = |out: &mut Vec<u8>, kind: u32, name: u32, data: &[u8]| {
            table.extend(name.to_le_bytes());
            table.extend(kind.to_le_bytes());
            let fields = [0, 0, out.len() as u64, data.len() as u64, 0, 0, 0];
            table.extend(fields.iter().flat_map(|field: &u64| field.to_le_bytes()));
            out.extend(data);
        };
        for (kind, name, data) in &self.sections {
            add(&mut out, *kind, names.len() as u32, data);
            names.extend(*name);
            names.push(0);
        }
        let section_count = self.sections.len() + 2;
        add(&mut out, 3, 0, &names);
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        let section_offset = out.len() as u64;
        out.extend(&table);

        let header = &mut out[..HEADER];
        header[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', CLASS_64, LITTLE_ENDIAN, 1, 0]);
        let mut put = |at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(16, &TYPE_EXEC.to_le_bytes());
        put(18, &MACHINE_X86_64.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(24, &self.entry.to_le_bytes());
        put(32, &(HEADER as u64).to_le_bytes());
        put(40, &section_offset.to_le_bytes());
        put(52, &(HEADER as u16).to_le_bytes());
        put(54, &(PROGRAM as u16).to_le_bytes());
        put(56, &(self.program.len() as u16).to_le_bytes());
        put(58, &(SECTION as u16).to_le_bytes());
        put(60, &(section_count as u16).to_le_bytes());
        put(62, &(section_count as u16 - 1).to_le_bytes());
        Image::new(&out)
    }
}

/// Debian's kernel without its contents: the program headers of 6.1.192.
pub(in crate::dom0) fn debian_kernel() -> Image {
    ElfBuilder::new(0x100_0000)
        .load(0xffff_ffff_8100_0000, 0x100_0000, b"text", 0x18e_a9f0)
        .load(0xffff_ffff_82a0_0000, 0x2a0_0000, b"data", 0x64_4000)
        .load(0, 0x304_4000, b"percpu", 0x3_5000)
        .load(0xffff_ffff_8307_9000, 0x307_9000, b"init", 0x198_7000)
        .notes(&debian_notes())
        .build()
}

/// A small kernel in the style of a test kernel or an old Linux: no INIT_P2M, no MOD_START_PFN.
pub(in crate::dom0) fn plain_kernel() -> Image {
    let mut notes = string_note(5, "xen-3.0");
    notes.extend(string_note(8, "generic"));
    notes.extend(number_note(3, 0x10_0000));
    notes.extend(number_note(2, 0x10_3000));
    ElfBuilder::new(0x10_0010)
        .load(0x10_0000, 0, &[0x90; 64], 0x5000)
        .notes(&notes)
        .build()
}

#[test]
fn debians_kernel_is_placed_by_physical_address() {
    let image = debian_kernel();
    let kernel = Kernel::parse(&image).unwrap();
    assert_eq!(
        kernel.placement,
        Placement {
            virt_base: 0xffff_ffff_8000_0000,
            paddr_offset: 0,
            image: 0xffff_ffff_8100_0000..0xffff_ffff_84a0_0000,
            entry: 0xffff_ffff_8307_91c0,
        }
    );
    let offsets: Vec<_> = kernel
        .segments
        .iter()
        .map(|segment| kernel.offset_in_mapping(segment))
        .collect();
    assert_eq!(offsets, [0x100_0000, 0x2a0_0000, 0x304_4000, 0x307_9000]);
    assert_eq!(kernel.segments[2].data, b"percpu");
    assert_eq!(kernel.segments[2].mem_size, 0x3_5000);
}

#[test]
fn without_an_entry_note_the_elf_entry_counts() {
    let image = plain_kernel();
    let kernel = Kernel::parse(&image).unwrap();
    assert_eq!(kernel.placement.entry, 0x10_0010);
    assert_eq!(kernel.placement.image, 0x10_0000..0x10_5000);
}

#[test]
fn segments_that_do_not_load_are_left_out() {
    let image = ElfBuilder::new(0x1000)
        .load(0x1000, 0x1000, b"code", 0x1000)
        .segment(PT_LOAD, 0, b"no permissions")
        .segment(6, 7, b"PT_PHDR")
        .load(0x9000, 0x9000, b"", 0)
        .notes(&[string_note(5, "xen-3.0"), string_note(6, "linux")].concat())
        .build();
    let kernel = Kernel::parse(&image).unwrap();
    assert_eq!(kernel.segments.len(), 1);
    assert_eq!(kernel.placement.image, 0x1000..0x2000);
}

#[test]
fn notes_may_be_in_sections_only() {
    let notes = [string_note(5, "xen-3.0"), string_note(6, "linux")].concat();
    let image = ElfBuilder::new(0x1000)
        .load(0x1000, 0x1000, b"code", 0x1000)
        .notes(&note(b"GNU\0", 3, b"build id"))
        .section(SHT_NOTE, b".note.gnu", &note(b"GNU\0", 3, b"build id"))
        .section(SHT_NOTE, b".note.Xen", &notes)
        .build();
    assert_eq!(
        Kernel::parse(&image).unwrap().notes.guest_os,
        Some(&b"linux"[..])
    );
}

#[test]
fn the_guest_section_counts_when_there_are_no_notes() {
    let string = b"GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0x0,ELF_PADDR_OFFSET=0x0\0";
    let image = ElfBuilder::new(0x1000)
        .load(0x1000, 0x1000, b"code", 0x1000)
        .section(1, b".text", b"code")
        .section(1, GUEST_SECTION, string)
        .build();
    let kernel = Kernel::parse(&image).unwrap();
    assert_eq!(kernel.notes.xen_version, Some(&b"xen-3.0"[..]));
    assert_eq!(kernel.placement.entry, 0x1000);
}

#[test]
fn refusals_name_their_cause() {
    let whole = debian_kernel();
    let patched = |at: usize, bytes: &[u8]| {
        let mut image = whole.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        Kernel::parse(&image).unwrap_err()
    };
    assert_eq!(Kernel::parse(b"#!/bin/sh"), Err(KernelError::NotElf));
    assert_eq!(
        Kernel::parse(&whole[..40]),
        Err(KernelError::Truncated("the ELF header"))
    );
    assert_eq!(patched(4, &[CLASS_32]), KernelError::Elf32);
    assert_eq!(patched(5, &[2]), KernelError::BigEndian);
    assert_eq!(
        patched(18, &[183, 0]).to_string(),
        "dom0 kernel is for another architecture (ELF machine 183, x86-64 is 62)"
    );
    assert_eq!(patched(16, &[1, 0]), KernelError::WrongType(1));
    assert_eq!(patched(56, &[0, 0]), KernelError::NothingToLoad);
    let table = KernelError::Truncated("the ELF program header table");
    assert_eq!(patched(32, &[0xff; 8]), table);
    assert_eq!(patched(54, &[8, 0]), table);
    assert_eq!(patched(54, &[0, 0]), table);
    assert_eq!(patched(54, &[PROGRAM as u8 + 8, 0]), table);
    assert_eq!(patched(56, &[0xff; 2]), table);
    for misplaced in [0, HEADER as u8 + 4, HEADER as u8 + 1] {
        assert_eq!(
            patched(32, &[misplaced]),
            KernelError::BadElf("a header table is not aligned")
        );
    }
    assert_eq!(
        patched(4, &[3]),
        KernelError::BadElf("it is neither 32-bit nor 64-bit")
    );
    // The first segment's p_offset, p_filesz, p_paddr and p_memsz.
    let segment = KernelError::Truncated("an ELF segment");
    assert_eq!(patched(HEADER + 8, &[0xff; 8]), segment);
    assert_eq!(patched(HEADER + 32, &[0xff; 8]), segment);
    assert_eq!(
        patched(HEADER + 24, &[0xff; 8]),
        KernelError::BadElf("a segment wraps the address space")
    );
    assert_eq!(
        patched(HEADER + 40, &[1, 0, 0, 0]),
        KernelError::BadElf("a segment is longer in the file than in memory")
    );
    let bare = ElfBuilder::new(0).load(0, 0, b"code", 0x1000).build();
    assert_eq!(Kernel::parse(&bare), Err(KernelError::NoXenNotes));
}

#[test]
fn every_truncation_of_the_loaded_part_is_an_error() {
    let image = debian_kernel();
    let end = HEADER + 5 * PROGRAM + b"textdatapercpuinit".len() + debian_notes().len();
    for length in 0..end {
        assert!(
            Kernel::parse(&image[..length]).is_err(),
            "cut to {length} bytes"
        );
    }
}

#[test]
fn a_file_must_be_aligned_in_memory() {
    let image = debian_kernel();
    for shift in 1..=16 {
        let shifted = image.shifted(shift);
        let expected = shift.is_multiple_of(ALIGNMENT);
        assert_eq!(is_aligned(&shifted[shift..]), expected);
        let parsed = Kernel::parse(&shifted[shift..]);
        if expected {
            assert_eq!(parsed, Kernel::parse(&image));
        } else {
            let error = KernelError::BadElf("it is not aligned in memory");
            assert_eq!(parsed, Err(error), "at {shift}");
        }
    }
}

#[test]
fn a_section_table_that_cannot_be_read_is_refused() {
    let [_, _, _, sections] = kernels();
    let patched = |at: usize, bytes: &[u8]| {
        let mut image = sections.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        Kernel::parse(&image).map(|_| ())
    };
    assert_eq!(patched(0, b"\x7f"), Ok(()));
    let table = Err(KernelError::Truncated("the ELF section header table"));
    assert_eq!(patched(40, &[0xff; 8]), table);
    assert_eq!(patched(58, &[SECTION as u8 - 8, 0]), table);
    assert_eq!(patched(60, &[0, 0xff]), table);
    assert_eq!(
        patched(60, &[1, 0xff]),
        Err(KernelError::BadElf("it has too many sections"))
    );
    assert_eq!(
        patched(40, &[HEADER as u8 + 1, 0]),
        Err(KernelError::BadElf("a header table is not aligned"))
    );
    assert_eq!(patched(40, &[0; 8]), Err(KernelError::NoXenNotes));
    // The section with the notes: its sh_offset.
    let table_offset = usize::from(u16::from_le_bytes([sections[40], sections[41]]));
    assert_eq!(
        patched(table_offset + SECTION + 24, &[0xff; 8]),
        Err(KernelError::Truncated("an ELF note section"))
    );
}

fn kernels() -> [Image; 4] {
    let guest = ElfBuilder::new(0x1000)
        .load(0x1000, 0x1000, b"code", 0x1000)
        .section(
            1,
            GUEST_SECTION,
            b"GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0x0\0",
        )
        .build();
    let notes = [string_note(5, "xen-3.0"), string_note(6, "linux")].concat();
    let sections = ElfBuilder::new(0x1000)
        .load(0x1000, 0x1000, b"code", 0x1000)
        .section(SHT_NOTE, b".note.Xen", &notes)
        .build();
    [debian_kernel(), plain_kernel(), guest, sections]
}

/// Where the fields lie that decide where headers and data are read, and their widths: those of the file header, of
/// the program headers and of the section headers.
fn placing_fields(image: &[u8]) -> Vec<(usize, usize)> {
    let mut fields = vec![(4, 1), (5, 1), (32, 8), (40, 8)];
    fields.extend((54..=62).step_by(2).map(|at| (at, 2)));
    let tables = [
        (32, 56, PROGRAM, [(0, 4), (8, 8), (32, 8), (40, 8)]),
        (40, 60, SECTION, [(0, 4), (4, 4), (24, 8), (32, 8)]),
    ];
    for (offset, count, size, of_entry) in tables {
        let first = usize::from(u16::from_le_bytes([image[offset], image[offset + 1]]));
        for entry in 0..usize::from(image[count]) {
            fields.extend(of_entry.map(|(at, width)| (first + entry * size + at, width)));
        }
    }
    fields
}

/// Values around every border that a check could have.
fn placing_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..16u64,
        HEADER as u64 - 9..HEADER as u64 + 66,
        200..1200u64,
        u64::MAX - 70..=u64::MAX,
        0xfeff..0xff02u64,
        any::<u64>(),
    ]
}

/// Parses; a kernel that is accepted must also be planned without an overflow.
fn parse_and_plan(image: &[u8], nr_pages: u64, initrd_len: u64) {
    let Ok(kernel) = Kernel::parse(image) else {
        return;
    };
    let demand = crate::dom0::plan::Demand {
        nr_pages,
        initrd_len,
        ..crate::dom0::plan::Demand::default()
    };
    if let Ok(plan) = crate::dom0::plan::Plan::new(&kernel, demand)
        && plan.mapped_pages() < 1 << 20
        && plan.p2m.frames < 1 << 16
    {
        crate::dom0::page_tables::tests::assert_maps_the_plan(&plan);
        for segment in &kernel.segments {
            let end = kernel
                .offset_in_mapping(segment)
                .checked_add(segment.mem_size);
            assert!(end.is_some_and(|end| end <= plan.v_end - plan.v_start));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(crate::sim::cases(3000)) })]

    #[test]
    fn no_mutation_of_headers_or_notes_panics(
        which in 0..4usize,
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 1..9usize),
            1..5,
        ),
        nr_pages in prop_oneof![0..100_000u64, any::<u64>()],
        initrd_len in prop_oneof![Just(0), 1..1_000_000u64, any::<u64>()],
    ) {
        let mut image = kernels()[which].clone();
        for (index, value, run) in changes {
            let at = index.index(image.len());
            let end = (at + run).min(image.len());
            image[at..end].fill(value);
        }
        parse_and_plan(&image, nr_pages, initrd_len);
    }

    #[test]
    fn no_misplaced_table_or_data_panics(
        which in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), placing_value()), 1..4),
        shift in prop_oneof![3 => Just(0usize), 1 => 0..17usize],
        cut in prop_oneof![3 => Just(0usize), 1 => 0..200usize],
    ) {
        let mut image = kernels()[which].clone();
        for (index, value) in changes {
            let fields = placing_fields(&kernels()[which]);
            let (at, width) = fields[index.index(fields.len())];
            image[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        let shifted = image.shifted(shift);
        let end = shifted.len() - cut.min(image.len());
        let moved = &shifted[shift..end];
        if shift.is_multiple_of(ALIGNMENT) {
            parse_and_plan(moved, 10_000, 0);
        } else {
            prop_assert!(Kernel::parse(moved).is_err());
        }
    }
}
