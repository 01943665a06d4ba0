//! The kernel's ELF: checked headers, what to load where, and where its Xen notes are.
//!
//! Every offset and size is validated against the file before use, and headers are read unaligned
//! (a boot module may start anywhere). Segments load by `p_paddr`: Linux's per-CPU segment has
//! `p_vaddr` 0.
//!
//! Contract: System V ABI, ELF-64; public/elfnote.h for where notes are searched (PT_NOTE
//! segments, else SHT_NOTE sections, else the section `__xen_guest`).

use alloc::vec::Vec;
use core::ops::Range;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::KernelError;
use super::bzimage::ELF_MAGIC;
use super::guest_string;
use super::notes::{Placement, XenNotes};

const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
const TYPE_EXEC: u16 = 2;
const TYPE_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Any of PF_X, PF_W, PF_R: a PT_LOAD without them is not loaded.
const PF_ANY: u32 = 7;
const SHT_NOTE: u32 = 7;
const SHT_NOBITS: u32 = 8;
/// Section of kernels that predate notes.
const GUEST_SECTION: &[u8] = b"__xen_guest";

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FileHeader {
    magic: [u8; 4],
    class: u8,
    data: u8,
    ident_rest: [u8; 10],
    kind: U16,
    machine: U16,
    version: U32,
    entry: U64,
    program_offset: U64,
    section_offset: U64,
    flags: U32,
    header_size: U16,
    program_entry_size: U16,
    program_count: U16,
    section_entry_size: U16,
    section_count: U16,
    names_index: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ProgramHeader {
    kind: U32,
    flags: U32,
    offset: U64,
    vaddr: U64,
    paddr: U64,
    file_size: U64,
    mem_size: U64,
    align: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SectionHeader {
    name: U32,
    kind: U32,
    flags: U64,
    addr: U64,
    offset: U64,
    size: U64,
    link: U32,
    info: U32,
    align: U64,
    entry_size: U64,
}

/// One piece of the image to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// `p_paddr`.
    pub paddr: u64,
    /// Bytes from the file; the rest up to `mem_size` is zero.
    pub data: &'a [u8],
    /// Length in memory, at least `data.len()`.
    pub mem_size: u64,
}

/// A kernel that passed every check: what to load, its notes, and where it wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel<'a> {
    /// What to load, in file order.
    pub segments: Vec<Segment<'a>>,
    /// The Xen notes.
    pub notes: XenNotes<'a>,
    /// The image's addresses, from the notes and the segments.
    pub placement: Placement,
}

impl<'a> Kernel<'a> {
    /// Parses and checks an uncompressed kernel.
    ///
    /// # Errors
    /// The file is not a 64-bit x86 ELF executable, is malformed, or has no Xen notes that allow
    /// it to be dom0.
    pub fn parse(image: &'a [u8]) -> Result<Self, KernelError> {
        let elf = Elf::parse(image)?;
        let segments = elf.segments()?;
        let span = span(&segments).ok_or(KernelError::NothingToLoad)?;
        let notes = elf.notes()?;
        notes.check()?;
        let placement = notes.place(span, elf.entry)?;
        Ok(Self {
            segments,
            notes,
            placement,
        })
    }

    /// Where `segment` starts, in bytes from the start of the initial mapping (PFN 0).
    ///
    /// [`Kernel::parse`] checked that every segment lies above it.
    #[must_use]
    pub fn offset_in_mapping(&self, segment: &Segment<'_>) -> u64 {
        segment.paddr.wrapping_sub(self.placement.paddr_offset)
    }
}

/// Physical addresses from the lowest to the highest loaded byte.
fn span(segments: &[Segment<'_>]) -> Option<Range<u64>> {
    let start = segments.iter().map(|segment| segment.paddr).min()?;
    let end = segments
        .iter()
        .map(|segment| segment.paddr.saturating_add(segment.mem_size))
        .max()?;
    Some(start..end)
}

/// The checked file header and tables.
struct Elf<'a> {
    image: &'a [u8],
    header: &'a FileHeader,
    entry: u64,
    program: Vec<&'a ProgramHeader>,
}

impl<'a> Elf<'a> {
    fn parse(image: &'a [u8]) -> Result<Self, KernelError> {
        if !image.starts_with(&ELF_MAGIC) {
            return Err(KernelError::NotElf);
        }
        let (header, _) = FileHeader::ref_from_prefix(image)
            .map_err(|_| KernelError::Truncated("the ELF header"))?;
        if header.data != LITTLE_ENDIAN {
            return Err(KernelError::BigEndian);
        }
        match (header.machine.get(), header.class) {
            (MACHINE_X86_64, CLASS_64) => {}
            (MACHINE_X86_64 | MACHINE_386, CLASS_32) => return Err(KernelError::Elf32),
            (machine, _) => return Err(KernelError::WrongMachine(machine)),
        }
        if !matches!(header.kind.get(), TYPE_EXEC | TYPE_DYN) {
            return Err(KernelError::WrongType(header.kind.get()));
        }
        let program = table(
            image,
            header.program_offset.get(),
            header.program_count.get(),
            header.program_entry_size.get(),
        )
        .ok_or(KernelError::Truncated("the ELF program header table"))?;
        Ok(Self {
            image,
            header,
            entry: header.entry.get(),
            program,
        })
    }

    fn segments(&self) -> Result<Vec<Segment<'a>>, KernelError> {
        let mut segments = Vec::new();
        for header in &self.program {
            let mem_size = header.mem_size.get();
            let loads = header.kind.get() == PT_LOAD && header.flags.get() & PF_ANY != 0;
            if !loads || mem_size == 0 {
                continue;
            }
            let data = bytes(self.image, header.offset.get(), header.file_size.get())
                .ok_or(KernelError::Truncated("an ELF segment"))?;
            if header.file_size.get() > mem_size {
                return Err(KernelError::BadElf(
                    "a segment is longer in the file than in memory",
                ));
            }
            let paddr = header.paddr.get();
            if paddr.checked_add(mem_size).is_none() {
                return Err(KernelError::BadElf("a segment wraps the address space"));
            }
            segments.push(Segment {
                paddr,
                data,
                mem_size,
            });
        }
        Ok(segments)
    }

    fn notes(&self) -> Result<XenNotes<'a>, KernelError> {
        let mut notes = XenNotes::default();
        let mut found = false;
        for header in self
            .program
            .iter()
            .filter(|header| header.kind.get() == PT_NOTE)
        {
            let data = bytes(self.image, header.offset.get(), header.file_size.get())
                .ok_or(KernelError::Truncated("an ELF note segment"))?;
            found |= notes.add_records(data)?;
        }
        if found {
            return Ok(notes);
        }
        let sections = self.sections()?;
        for section in sections
            .iter()
            .filter(|section| section.kind.get() == SHT_NOTE)
        {
            let data = bytes(self.image, section.offset.get(), section.size.get())
                .ok_or(KernelError::Truncated("an ELF note section"))?;
            found |= notes.add_records(data)?;
        }
        if found {
            return Ok(notes);
        }
        let guest = self
            .guest_section(&sections)
            .ok_or(KernelError::NoXenNotes)?;
        guest_string::parse(guest)
    }

    fn sections(&self) -> Result<Vec<&'a SectionHeader>, KernelError> {
        let header = self.header;
        if header.section_offset.get() == 0 {
            return Ok(Vec::new());
        }
        table(
            self.image,
            header.section_offset.get(),
            header.section_count.get(),
            header.section_entry_size.get(),
        )
        .ok_or(KernelError::Truncated("the ELF section header table"))
    }

    fn guest_section(&self, sections: &[&'a SectionHeader]) -> Option<&'a [u8]> {
        let names = sections.get(usize::from(self.header.names_index.get()))?;
        let names = bytes(self.image, names.offset.get(), names.size.get())?;
        let section = sections.iter().find(|section| {
            let name = names.get(section.name.get() as usize..);
            section.kind.get() != SHT_NOBITS
                && name
                    .is_some_and(|name| name.split(|&byte| byte == 0).next() == Some(GUEST_SECTION))
        })?;
        bytes(self.image, section.offset.get(), section.size.get())
    }
}

/// The `count` entries of a header table; None if it does not lie within the file.
fn table<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    image: &[u8],
    offset: u64,
    count: u16,
    entry_size: u16,
) -> Option<Vec<&T>> {
    let entry_size = usize::from(entry_size);
    if count == 0 {
        return Some(Vec::new());
    }
    let length = usize::from(count) * entry_size;
    let table = bytes(image, offset, length as u64)?;
    // An entry size below T's gives chunks that T does not fit; 0 is refused by the check.
    if entry_size < size_of::<T>() {
        return None;
    }
    table
        .chunks_exact(entry_size)
        .map(|entry| T::ref_from_prefix(entry).ok().map(|(entry, _)| entry))
        .collect()
}

/// `length` bytes of `image` from `offset`.
fn bytes(image: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let offset = usize::try_from(offset).ok()?;
    let length = usize::try_from(length).ok()?;
    image.get(offset..)?.get(..length)
}

#[cfg(test)]
pub(super) mod tests;
