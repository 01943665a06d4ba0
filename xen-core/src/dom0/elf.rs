//! The kernel's ELF: checked headers, what to load where, and where its Xen notes are.
//!
//! The crate `xmas-elf` reads the headers. It takes references into the file and asserts what it needs, so everything
//! that it asserts (alignment, entry sizes, tables and data within the file) is checked here before it is asked, and
//! those of its accessors that trust the file (names, symbols, note contents) are not used. Segments load by
//! `p_paddr`: Linux's per-CPU segment has `p_vaddr` 0.
//!
//! Contract: System V ABI, ELF-64; public/elfnote.h for where notes are searched (PT_NOTE
//! segments, else SHT_NOTE sections, else the section `__xen_guest`).

use alloc::vec::Vec;
use core::ops::Range;

use xmas_elf::ElfFile;
use xmas_elf::header::{Class, Data, HeaderPt1, HeaderPt2_, Machine, Type};
use xmas_elf::program::{
    FLAG_R, FLAG_W, FLAG_X, ProgramHeader, ProgramHeader64, Type as SegmentType,
};
use xmas_elf::sections::{SHN_LORESERVE, SectionHeader, SectionHeader_, ShType};

use super::KernelError;
use super::bzimage::ELF_MAGIC;
use super::guest_string;
use super::notes::{Placement, XenNotes};

/// What the headers of ELF-64 are aligned to in the file, and so the file in memory.
const ALIGNMENT: usize = 8;
const FILE_HEADER: usize = size_of::<HeaderPt1>() + size_of::<HeaderPt2_<u64>>();
/// Where `e_machine` lies: `xmas-elf` keeps the number of a machine that it knows to itself.
const MACHINE: Range<usize> = 18..20;
/// A PT_LOAD without any of these is not loaded.
const PF_ANY: u32 = FLAG_X | FLAG_W | FLAG_R;
/// Section of kernels that predate notes.
const GUEST_SECTION: &[u8] = b"__xen_guest";

/// Whether [`Kernel::parse`] can read `image` where it lies: 8-byte aligned.
#[must_use]
pub fn is_aligned(image: &[u8]) -> bool {
    image.as_ptr().addr().is_multiple_of(ALIGNMENT)
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
    /// Parses and checks an uncompressed kernel that lies 8-byte aligned in memory.
    ///
    /// # Errors
    /// The image is not aligned (see [`is_aligned`]), not a 64-bit x86 ELF executable, is malformed, or has no Xen notes that allow
    /// it to be dom0.
    pub fn parse(image: &'a [u8]) -> Result<Self, KernelError> {
        let kernel = Self::parse_guest(image)?;
        kernel.notes.check_dom0()?;
        Ok(kernel)
    }

    /// Likewise, for a kernel that need not be able to be dom0.
    ///
    /// # Errors
    /// As for [`Kernel::parse`], but for the feature dom0.
    pub fn parse_guest(image: &'a [u8]) -> Result<Self, KernelError> {
        let elf = Elf::parse(image)?;
        let segments = elf.segments()?;
        let span = span(&segments).ok_or(KernelError::NothingToLoad)?;
        let notes = elf.notes()?;
        notes.check()?;
        let placement = notes.place(span, elf.entry())?;
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

/// A file whose header and program header table were checked.
struct Elf<'a> {
    file: ElfFile<'a>,
}

impl<'a> Elf<'a> {
    fn parse(image: &'a [u8]) -> Result<Self, KernelError> {
        if !image.starts_with(&ELF_MAGIC) {
            return Err(KernelError::NotElf);
        }
        if !is_aligned(image) {
            return Err(KernelError::BadElf("it is not aligned in memory"));
        }
        // Long enough for the header of either class.
        if image.len() < FILE_HEADER {
            return Err(KernelError::Truncated("the ELF header"));
        }
        // With magic and length checked, only an unknown class is left to refuse.
        let file = ElfFile::new(image)
            .map_err(|_| KernelError::BadElf("it is neither 32-bit nor 64-bit"))?;
        if !matches!(file.header.pt1.data(), Data::LittleEndian) {
            return Err(KernelError::BigEndian);
        }
        let header = &file.header.pt2;
        match (header.machine().as_machine(), file.header.pt1.class()) {
            (Machine::X86_64, Class::SixtyFour) => {}
            (Machine::X86_64 | Machine::X86, Class::ThirtyTwo) => return Err(KernelError::Elf32),
            _ => return Err(KernelError::WrongMachine(machine(image))),
        }
        if !matches!(
            header.type_().as_type(),
            Type::Executable | Type::SharedObject
        ) {
            return Err(KernelError::WrongType(header.type_().0));
        }
        check_table::<ProgramHeader64>(
            image,
            "the ELF program header table",
            header.ph_offset(),
            header.ph_count(),
            header.ph_entry_size(),
        )?;
        Ok(Self { file })
    }

    fn entry(&self) -> u64 {
        self.file.header.pt2.entry_point()
    }

    fn segments(&self) -> Result<Vec<Segment<'a>>, KernelError> {
        let mut segments = Vec::new();
        for header in self.file.program_iter() {
            let mem_size = header.mem_size();
            let loads =
                header.get_type() == Ok(SegmentType::Load) && header.flags().0 & PF_ANY != 0;
            if !loads || mem_size == 0 {
                continue;
            }
            let data = self
                .segment_data(&header)
                .ok_or(KernelError::Truncated("an ELF segment"))?;
            if header.file_size() > mem_size {
                return Err(KernelError::BadElf(
                    "a segment is longer in the file than in memory",
                ));
            }
            let paddr = header.physical_addr();
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
        for header in self.file.program_iter() {
            if header.get_type() != Ok(SegmentType::Note) {
                continue;
            }
            let data = self
                .segment_data(&header)
                .ok_or(KernelError::Truncated("an ELF note segment"))?;
            found |= notes.add_records(data)?;
        }
        if found {
            return Ok(notes);
        }
        let sections = self.sections()?;
        for section in &sections {
            if section.get_type() != Ok(ShType::Note) {
                continue;
            }
            let data = self
                .section_data(section)
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

    fn sections(&self) -> Result<Vec<SectionHeader<'a>>, KernelError> {
        let header = &self.file.header.pt2;
        if header.sh_offset() == 0 {
            return Ok(Vec::new());
        }
        // Indices from there on are reserved; a longer table states its length elsewhere, with e_shnum 0.
        if header.sh_count() > SHN_LORESERVE {
            return Err(KernelError::BadElf("it has too many sections"));
        }
        check_table::<SectionHeader_<u64>>(
            self.file.input,
            "the ELF section header table",
            header.sh_offset(),
            header.sh_count(),
            header.sh_entry_size(),
        )?;
        Ok(self.file.section_iter().collect())
    }

    fn guest_section(&self, sections: &[SectionHeader<'a>]) -> Option<&'a [u8]> {
        let names = sections.get(usize::from(self.file.header.pt2.sh_str_index()))?;
        let names = self.section_data(names)?;
        let section = sections.iter().find(|section| {
            let name = names.get(section.name() as usize..);
            section.get_type() != Ok(ShType::NoBits)
                && name
                    .is_some_and(|name| name.split(|&byte| byte == 0).next() == Some(GUEST_SECTION))
        })?;
        self.section_data(section)
    }

    /// What `header` has in the file, of any kind but PT_NULL; None if it does not lie within the file.
    fn segment_data(&self, header: &ProgramHeader<'a>) -> Option<&'a [u8]> {
        let has_data = header
            .get_type()
            .is_ok_and(|kind| kind != SegmentType::Null);
        (has_data && self.contains(header.offset(), header.file_size())).then(|| match header {
            ProgramHeader::Ph32(header) => header.raw_data(&self.file),
            ProgramHeader::Ph64(header) => header.raw_data(&self.file),
        })
    }

    /// What `section` has in the file, of any kind but SHT_NULL; None if it does not lie within the file.
    fn section_data(&self, section: &SectionHeader<'a>) -> Option<&'a [u8]> {
        let has_data = section.get_type().is_ok_and(|kind| kind != ShType::Null);
        (has_data && self.contains(section.offset(), section.size()))
            .then(|| section.raw_data(&self.file))
    }

    /// Whether `size` bytes from `offset` lie within the file.
    fn contains(&self, offset: u64, size: u64) -> bool {
        offset
            .checked_add(size)
            .is_some_and(|end| end <= self.file.input.len() as u64)
    }
}

/// `e_machine` as a number.
fn machine(image: &[u8]) -> u16 {
    let field = image.get(MACHINE).and_then(<[u8]>::first_chunk);
    field.map_or(0, |field| u16::from_le_bytes(*field))
}

/// Whether the table `name` of `count` entries of type `T` can be read: it is within the file and aligned, and its
/// entries have T's size.
fn check_table<T>(
    image: &[u8],
    name: &'static str,
    offset: u64,
    count: u16,
    entry_size: u16,
) -> Result<(), KernelError> {
    if count == 0 {
        return Ok(());
    }
    let length = u64::from(count) * size_of::<T>() as u64;
    let end = offset.checked_add(length);
    if usize::from(entry_size) != size_of::<T>() || end.is_none_or(|end| end > image.len() as u64) {
        return Err(KernelError::Truncated(name));
    }
    if offset == 0 || !offset.is_multiple_of(ALIGNMENT as u64) {
        return Err(KernelError::BadElf("a header table is not aligned"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
