//! Multiboot 2 (Multiboot2 Specification 2.0, section 3.6), as GRUB's `multiboot2` passes it.

use super::bytes::{u32_at, u64_at};
use super::e820::{Kind, Region, Regions};
use super::modules::{Module, PhysRange};
use super::{BootInfo, BootInfoError, BootMemory, efi, text, without_image_name};

/// Magic of the header in the image.
pub const HEADER_MAGIC: u32 = 0xe852_50d6;
/// What the loader leaves in EAX.
pub const LOADER_MAGIC: u32 = 0x36d7_6289;

/// Larger than any real information block: bounds what is read.
const INFO_MAX: u32 = 4 << 20;

const TAG_END: u32 = 0;
const TAG_COMMAND_LINE: u32 = 1;
const TAG_LOADER_NAME: u32 = 2;
const TAG_MODULE: u32 = 3;
const TAG_BASIC_MEMORY: u32 = 4;
const TAG_MEMORY_MAP: u32 = 6;
const TAG_EFI64_SYSTEM_TABLE: u32 = 12;
const TAG_ACPI_OLD: u32 = 14;
const TAG_ACPI_NEW: u32 = 15;
const TAG_EFI_MEMORY_MAP: u32 = 17;

/// Reads the information block at `info`.
pub fn read<'a>(info: u64, memory: &impl BootMemory<'a>) -> Result<BootInfo<'a>, BootInfoError> {
    let unreadable = BootInfoError::Unreadable;
    let size = memory
        .bytes(info, 8)
        .and_then(|head| u32_at(head, 0))
        .ok_or(unreadable("information block"))?;
    let block = memory
        .bytes(info, u64::from(size.clamp(8, INFO_MAX)))
        .ok_or(unreadable("information block"))?;
    let mut out = BootInfo::default();
    let _ = out.reserved.try_push(PhysRange::new(
        info,
        info.saturating_add(block.len() as u64),
    ));

    // The loader's name decides how command lines are read, and its tag may come last.
    if let Some((_, name)) = tags(block).find(|&(kind, _)| kind == TAG_LOADER_NAME) {
        out.loader = text(name);
    }
    let mut map = Regions::new();
    let mut efi_map = Regions::new();
    let mut basic = Regions::new();
    for (kind, body) in tags(block) {
        match kind {
            TAG_COMMAND_LINE => out.command_line = without_image_name(out.loader, text(body)),
            TAG_MODULE => {
                let word = |offset| u32_at(body, offset).map(u64::from);
                let (start, end) = (word(0).zip(word(4))).ok_or(unreadable("module tag"))?;
                let line = text(body.get(8..).unwrap_or_default());
                let command_line = without_image_name(out.loader, line);
                out.modules.push(Module {
                    range: PhysRange::new(start, end),
                    command_line,
                });
            }
            TAG_BASIC_MEMORY => {
                let kib = |offset| u64::from(u32_at(body, offset).unwrap_or(0)) << 10;
                basic.push(Region::new(0, kib(0), Kind::RAM));
                basic.push(Region::new(1 << 20, kib(4), Kind::RAM));
            }
            TAG_MEMORY_MAP => read_map(body, &mut map),
            TAG_EFI_MEMORY_MAP => {
                read_efi_map(body, &mut efi_map);
                out.efi_memory_map = Some(body);
            }
            TAG_EFI64_SYSTEM_TABLE => out.efi_system_table = u64_at(body, 0),
            TAG_ACPI_NEW => out.rsdp = Some(body),
            TAG_ACPI_OLD if out.rsdp.is_none() => out.rsdp = Some(body),
            _ => {}
        }
    }
    let regions = [map, efi_map, basic]
        .into_iter()
        .find(|regions| !regions.is_empty());
    out.memory = regions.ok_or(BootInfoError::NoMemoryMap)?.sanitise();
    Ok(out)
}

/// The tags of an information block: type and content after the 8-byte head. Each starts on an 8-byte boundary.
fn tags(block: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut offset = 8usize;
    core::iter::from_fn(move || {
        let (kind, size) = u32_at(block, offset).zip(u32_at(block, offset.checked_add(4)?))?;
        if kind == TAG_END || size < 8 {
            return None;
        }
        let end = offset.checked_add(size as usize)?;
        let body = block.get(offset.checked_add(8)?..end)?;
        offset = end.checked_add(7)? & !7;
        Some((kind, body))
    })
}

/// Entries of 24 bytes or more: base, length, type, reserved (section 3.6.8).
fn read_map(body: &[u8], regions: &mut Regions) {
    let entry_size = u32_at(body, 0).unwrap_or(0) as usize;
    if entry_size < 24 {
        return;
    }
    for entry in body.get(8..).unwrap_or_default().chunks_exact(entry_size) {
        if let (Some(start), Some(len), Some(kind)) =
            (u64_at(entry, 0), u64_at(entry, 8), u32_at(entry, 16))
        {
            regions.push(Region::new(start, len, Kind(kind)));
        }
    }
}

/// UEFI memory descriptors (UEFI 2.10, 7.2.3): type, start, pages. Only memory that is free once the firmware's boot
/// services have ended becomes RAM.
fn read_efi_map(body: &[u8], regions: &mut Regions) {
    for descriptor in efi::memory_map(body) {
        let kind = match descriptor.kind {
            // Loader code and data, boot services code and data, conventional.
            1..=4 | 7 => Kind::RAM,
            8 => Kind::UNUSABLE,
            9 => Kind::ACPI,
            10 => Kind::NVS,
            _ => Kind::RESERVED,
        };
        regions.push(Region::new(descriptor.start, descriptor.size, kind));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::*;
    use std::vec::Vec;

    fn tag(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((body.len() as u32 + 8).to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn block(tags: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = std::vec![0; 8];
        for tag in tags {
            bytes.extend(tag);
        }
        bytes.extend(tag(TAG_END, &[]));
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read_block(tags: &[Vec<u8>]) -> Result<BootInfo<'static>, BootInfoError> {
        let mut memory = Pieces::default();
        memory.put(0x1000, block(tags));
        read(0x1000, &memory)
    }

    #[test]
    fn whole_block() {
        let mut module = words(&[0x40_0000, 0x40_1000]);
        module.extend(b"quiet ro\0");
        let map = words(&[
            24,
            0,
            0,
            0,
            0x9f000,
            0,
            1,
            0,
            0x10_0000,
            0,
            0x1000_0000,
            0,
            1,
            0,
        ]);
        let info = read_block(&[
            tag(TAG_COMMAND_LINE, b"loglvl=all\0"),
            tag(TAG_MODULE, &module),
            tag(TAG_MEMORY_MAP, &map),
            tag(TAG_ACPI_OLD, b"old"),
            tag(TAG_ACPI_NEW, b"new"),
            tag(TAG_LOADER_NAME, b"GRUB 2.06\0"),
        ])
        .unwrap();
        assert_eq!(info.command_line, "loglvl=all");
        assert_eq!(info.modules.as_slice()[0].command_line, "quiet ro");
        assert_eq!(
            info.modules.as_slice()[0].range,
            PhysRange::new(0x40_0000, 0x40_1000)
        );
        assert_eq!(info.memory.ram_bytes(), 0x9f000 + 0x1000_0000);
        assert_eq!(info.rsdp, Some(&b"new"[..]));
    }

    #[test]
    fn efi_map_serves_where_there_is_no_other() {
        let mut map = words(&[48, 1]);
        for (kind, start, pages) in [
            (7u32, 0u32, 16u32),
            (3, 0x10_0000, 256),
            (6, 0x20_0000, 1),
            (9, 0x30_0000, 1),
        ] {
            map.extend(words(&[kind, 0, start, 0, 0, 0, pages, 0, 0, 0, 0, 0]));
        }
        let info = read_block(&[tag(TAG_EFI_MEMORY_MAP, &map)]).unwrap();
        assert_eq!(info.memory.ram_bytes(), (16 + 256) << 12);
        assert!(
            info.memory
                .regions()
                .iter()
                .any(|region| region.kind == Kind::ACPI)
        );
    }

    #[test]
    fn bad_blocks() {
        assert_eq!(read_block(&[]).unwrap_err(), BootInfoError::NoMemoryMap);
        // A tag that claims to be longer than the block ends the walk.
        let mut long = tag(TAG_COMMAND_LINE, b"x");
        long[4] = 0xff;
        assert_eq!(read_block(&[long]).unwrap_err(), BootInfoError::NoMemoryMap);
        let truncated = tag(TAG_MODULE, &words(&[1]));
        assert_eq!(
            read_block(&[truncated]).unwrap_err(),
            BootInfoError::Unreadable("module tag")
        );
        let no_entry_size = tag(TAG_MEMORY_MAP, &words(&[0, 0]));
        assert_eq!(
            read_block(&[no_entry_size]).unwrap_err(),
            BootInfoError::NoMemoryMap
        );
    }
}
