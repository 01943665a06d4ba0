//! Puts the hypervisor's 64-bit ELF into a 32-bit one, which is what multiboot loaders take.
//!
//! The linker makes an ELF64 whose addresses are high and virtual. QEMU's `-kernel` refuses that
//! (testing.md section 2), so the loadable segments are copied into an ELF32 at their physical addresses, with the
//! 32-bit entry point. Contracts: Multiboot 0.6.96 section 3.1.1 (header within 8 KiB of the file, aligned to 4) and
//! Multiboot2 section 3.1.1 (within 32 KiB, aligned to 8).

use crate::symbols;
use anyhow::{Context, Result, bail, ensure};
use object::elf::{FileHeader64, PF_R, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use object::{Endianness, pod::Pod};
use std::borrow::Cow;

/// The symbol of the 32-bit entry point.
const ENTRY: &[u8] = b"_start32";

const HEADER_SIZE: u32 = 52;
const SEGMENT_SIZE: u32 = 32;
const PAGE: u32 = 4096;

const MULTIBOOT1_MAGIC: u32 = 0x1bad_b002;
const MULTIBOOT1_WINDOW: usize = 8192;
const MULTIBOOT2_MAGIC: u32 = 0xe852_50d6;
const MULTIBOOT2_WINDOW: usize = 32768;

struct Segment<'a> {
    /// Physical address.
    address: u32,
    /// Virtual address that the linker gave it.
    linked_at: u64,
    memory_size: u32,
    flags: u32,
    data: Cow<'a, [u8]>,
}

/// The ELF32 made of `elf64`, checked to carry both multiboot headers where loaders look for them.
pub fn bootable(elf64: &[u8]) -> Result<Vec<u8>> {
    let header =
        FileHeader64::<Endianness>::parse(elf64).context("the linker's output is no ELF64")?;
    let endian = header.endian()?;
    let mut segments = Vec::new();
    for program in header.program_headers(endian, elf64)? {
        if program.p_type(endian) == PT_LOAD && program.p_memsz(endian) > 0 {
            segments.push(segment(program, endian, elf64)?);
        }
    }
    ensure!(
        !segments.is_empty(),
        "the linker's output has nothing to load"
    );
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        ensure!(
            pair[0].address + pair[0].memory_size <= pair[1].address,
            "two segments overlap at physical address {:#x}",
            pair[1].address
        );
    }
    let entry = entry(header, endian, elf64, &segments)?;
    add_symbols(&mut segments, elf64)?;
    let file = write(&segments, entry);
    find_multiboot1(&file)?;
    find_multiboot2(&file)?;
    Ok(file)
}

fn segment<'a>(
    program: &impl ProgramHeader<Endian = Endianness, Word = u64>,
    endian: Endianness,
    file: &'a [u8],
) -> Result<Segment<'a>> {
    let start = program.p_paddr(endian);
    let memory_size = program.p_memsz(endian);
    let end = start.checked_add(memory_size).filter(|end| *end < 1 << 32);
    ensure!(
        end.is_some(),
        "a segment's physical address {start:#x} is not below 4 GiB: give it an AT()"
    );
    let Ok(data) = program.data(endian, file) else {
        bail!("a segment lies outside the file")
    };
    Ok(Segment {
        address: start as u32,
        linked_at: program.p_vaddr(endian),
        memory_size: memory_size as u32,
        flags: program.p_flags(endian),
        data: Cow::Borrowed(data),
    })
}

/// Puts the symbol table behind the image, if the program has a structure to find it by.
fn add_symbols(segments: &mut Vec<Segment<'_>>, elf64: &[u8]) -> Result<()> {
    let Some(last) = segments.last() else {
        return Ok(());
    };
    let base = last.linked_at.wrapping_sub(u64::from(last.address));
    let address = (last.address + last.memory_size).next_multiple_of(PAGE);
    let linked_at = base.wrapping_add(u64::from(address));
    let table = symbols::table(elf64, base)?;
    for segment in segments.iter_mut() {
        let data = segment.data.to_mut();
        if symbols::set_place(data, linked_at, table.len() as u64)? {
            segments.push(Segment {
                address,
                linked_at,
                memory_size: table.len() as u32,
                flags: PF_R,
                data: Cow::Owned(table),
            });
            return Ok(());
        }
    }
    Ok(())
}

/// The physical address of the 32-bit entry point: of the symbol, or else of the ELF entry. A linked address is
/// brought down to where its segment is loaded.
fn entry<H>(header: &H, endian: Endianness, file: &[u8], segments: &[Segment<'_>]) -> Result<u32>
where
    H: FileHeader<Endian = Endianness, Word = u64> + Pod,
{
    let sections = header.sections(endian, file)?;
    let symbols = sections.symbols(endian, file, object::elf::SHT_SYMTAB)?;
    let named = symbols
        .iter()
        .find(|symbol| symbol.name(endian, symbols.strings()).ok() == Some(ENTRY));
    let address = named.map_or_else(|| header.e_entry(endian), |symbol| symbol.st_value(endian));
    if let Ok(physical) = u32::try_from(address) {
        return Ok(physical);
    }
    let inside = segments.iter().find_map(|segment| {
        let distance = address.checked_sub(segment.linked_at)?;
        (distance < u64::from(segment.memory_size)).then_some(segment.address + distance as u32)
    });
    inside.with_context(|| format!("the 32-bit entry point {address:#x} lies in no segment"))
}

fn write(segments: &[Segment<'_>], entry: u32) -> Vec<u8> {
    let count = segments.len() as u32;
    let mut out = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend_from_slice(&2_u16.to_le_bytes()); // ET_EXEC
    out.extend_from_slice(&3_u16.to_le_bytes()); // EM_386
    for word in [1, entry, HEADER_SIZE, 0, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for half in [HEADER_SIZE, SEGMENT_SIZE, count, 0, 0, 0] {
        out.extend_from_slice(&(half as u16).to_le_bytes());
    }
    let mut offsets = Vec::new();
    let mut end = HEADER_SIZE + count * SEGMENT_SIZE;
    for segment in segments {
        let offset = end.next_multiple_of(PAGE) + segment.address % PAGE;
        offsets.push(offset);
        end = offset + segment.data.len() as u32;
    }
    for (segment, offset) in segments.iter().zip(&offsets) {
        let (address, size) = (segment.address, segment.data.len() as u32);
        for word in [
            PT_LOAD,
            *offset,
            address,
            address,
            size,
            segment.memory_size,
            segment.flags,
            PAGE,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    for (segment, offset) in segments.iter().zip(&offsets) {
        out.resize(*offset as usize, 0);
        out.extend_from_slice(&segment.data);
    }
    out
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
}

/// Magic, flags and checksum add up to zero.
fn find_multiboot1(file: &[u8]) -> Result<usize> {
    let matches = |at: &usize| {
        let sum = word(file, at + 4)?.wrapping_add(word(file, at + 8)?);
        Some(word(file, *at)? == MULTIBOOT1_MAGIC && sum == MULTIBOOT1_MAGIC.wrapping_neg())
    };
    let found = (0..MULTIBOOT1_WINDOW - 12)
        .step_by(4)
        .find(|at| matches(at).unwrap_or(false));
    found.context("no multiboot 1 header in the first 8 KiB of the file: put its section first")
}

/// Magic, architecture, length and checksum add up to zero.
fn find_multiboot2(file: &[u8]) -> Result<usize> {
    let matches = |at: &usize| {
        let sum = (1..4).try_fold(0, |sum: u32, index| {
            Some(sum.wrapping_add(word(file, at + 4 * index)?))
        })?;
        Some(word(file, *at)? == MULTIBOOT2_MAGIC && sum == MULTIBOOT2_MAGIC.wrapping_neg())
    };
    let found = (0..MULTIBOOT2_WINDOW - 16)
        .step_by(8)
        .find(|at| matches(at).unwrap_or(false));
    found.context("no multiboot 2 header in the first 32 KiB of the file: put its section first")
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenolith_tests::elf::{Executable, Machine};

    fn headers() -> Vec<u8> {
        let sum = |words: &[u32]| {
            words
                .iter()
                .fold(0_u32, |sum, word| sum.wrapping_add(*word))
                .wrapping_neg()
        };
        let one = [MULTIBOOT1_MAGIC, 3, sum(&[MULTIBOOT1_MAGIC, 3]), 0];
        let two = [MULTIBOOT2_MAGIC, 0, 16, sum(&[MULTIBOOT2_MAGIC, 0, 16])];
        one.iter()
            .chain(&two)
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    fn elf64(image: Vec<u8>, paddr: u64) -> Vec<u8> {
        let vaddr = 0xffff_8080_0020_0000;
        let entry = vaddr + 0x20;
        let file = Executable {
            machine: Machine::X86_64,
            vaddr,
            paddr,
            entry,
            image,
            bss: 64,
            notes: Vec::new(),
        };
        file.file()
    }

    #[test]
    fn segments_move_to_their_physical_addresses() {
        let file = bootable(&elf64(headers(), 0x20_0000)).unwrap();
        assert_eq!(&file[..5], b"\x7fELF\x01");
        assert_eq!(word(&file, 24), Some(0x20_0020));
        let segment: Vec<u32> = (0..6)
            .map(|index| word(&file, 52 + 4 * index).unwrap())
            .collect();
        assert_eq!(segment, [PT_LOAD, 4096, 0x20_0000, 0x20_0000, 32, 96]);
        assert_eq!(&file[4096..], headers());
    }

    #[test]
    fn a_missing_header_is_named() {
        let error = bootable(&elf64(headers()[..16].to_vec(), 0x20_0000))
            .unwrap_err()
            .to_string();
        assert!(error.contains("multiboot 2"), "{error}");
        let error = bootable(&elf64(headers()[16..].to_vec(), 0x20_0000))
            .unwrap_err()
            .to_string();
        assert!(error.contains("multiboot 1"), "{error}");
    }

    #[test]
    fn a_high_physical_address_is_refused() {
        let error = bootable(&elf64(headers(), 0xffff_8080_0020_0000))
            .unwrap_err()
            .to_string();
        assert!(error.contains("below 4 GiB"), "{error}");
    }
}
