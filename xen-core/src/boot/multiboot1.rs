//! Multiboot 1 (Multiboot Specification 0.6.96, section 3.3), as QEMU's `-kernel` and GRUB's `multiboot` pass it.

use super::bytes::{u32_at, u64_at};
use super::e820::{Kind, Region, Regions};
use super::modules::{Module, PhysRange};
use super::{BootInfo, BootInfoError, BootMemory, COMMAND_LINE_MAX, text, without_image_name};

/// Magic of the header in the image.
pub const HEADER_MAGIC: u32 = 0x1bad_b002;
/// Header flags: modules on page boundaries, memory information wanted.
pub const HEADER_FLAGS: u32 = 0x3;
/// What the loader leaves in EAX.
pub const LOADER_MAGIC: u32 = 0x2bad_b002;

const INFO_SIZE: u64 = 116;
const MODULE_SIZE: u64 = 16;
/// More entries than any memory map has: bounds the walk over the loader's data.
const MAP_MAX_BYTES: u64 = 64 << 10;

const HAS_MEMORY: u32 = 1 << 0;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const HAS_LOADER_NAME: u32 = 1 << 9;

/// Reads the information structure at `info`.
pub fn read<'a>(info: u64, memory: &impl BootMemory<'a>) -> Result<BootInfo<'a>, BootInfoError> {
    let unreadable = BootInfoError::Unreadable;
    let fixed = memory
        .bytes(info, INFO_SIZE)
        .ok_or(unreadable("information structure"))?;
    let field = |offset: usize| u32_at(fixed, offset).unwrap_or(0);
    let flags = field(0);
    let mut out = BootInfo::default();
    let reserve = |out: &mut BootInfo<'a>, start: u64, len: u64| {
        // A full list only means that this piece may be reused early: it has been read by then.
        let _ = out
            .reserved
            .try_push(PhysRange::new(start, start.saturating_add(len)));
    };
    reserve(&mut out, info, INFO_SIZE);

    if flags & HAS_LOADER_NAME != 0 {
        out.loader = string_at(u64::from(field(64)), memory).unwrap_or("");
    }
    if flags & HAS_COMMAND_LINE != 0 {
        let line = string_at(u64::from(field(16)), memory).ok_or(unreadable("command line"))?;
        reserve(&mut out, u64::from(field(16)), line.len() as u64 + 1);
        out.command_line = without_image_name(out.loader, line);
    }
    if flags & HAS_MODULES != 0 {
        let (count, table) = (u64::from(field(20)), u64::from(field(24)));
        // The count is a 32-bit number, so the product cannot overflow.
        let entries = memory
            .bytes(table, count * MODULE_SIZE)
            .ok_or(unreadable("module list"))?;
        reserve(&mut out, table, count * MODULE_SIZE);
        for entry in entries.chunks_exact(MODULE_SIZE as usize) {
            let word = |offset: usize| u64::from(u32_at(entry, offset).unwrap_or(0));
            let line = match word(8) {
                0 => "",
                addr => string_at(addr, memory).ok_or(unreadable("module's command line"))?,
            };
            let range = PhysRange::new(word(0), word(4));
            out.modules.push(Module {
                range,
                command_line: without_image_name(out.loader, line),
            });
        }
    }

    let mut regions = Regions::new();
    if flags & HAS_MEMORY_MAP != 0 {
        let (len, table) = (
            u64::from(field(44)).min(MAP_MAX_BYTES),
            u64::from(field(48)),
        );
        let map = memory.bytes(table, len).ok_or(unreadable("memory map"))?;
        reserve(&mut out, table, len);
        read_map(map, &mut regions);
    } else if flags & HAS_MEMORY != 0 {
        // The classic two numbers: kilobytes from 0 and from 1 MiB.
        regions.push(Region::new(0, u64::from(field(4)) << 10, Kind::RAM));
        regions.push(Region::new(1 << 20, u64::from(field(8)) << 10, Kind::RAM));
    } else {
        return Err(BootInfoError::NoMemoryMap);
    }
    out.memory = regions.sanitise();
    Ok(out)
}

/// Reads the memory map: each entry is preceded by its own size.
fn read_map(mut map: &[u8], regions: &mut Regions) {
    while let (Some(size), Some(start), Some(len), Some(kind)) = (
        u32_at(map, 0),
        u64_at(map, 4),
        u64_at(map, 12),
        u32_at(map, 20),
    ) {
        regions.push(Region::new(start, len, Kind(kind)));
        let step = (size as usize).saturating_add(4);
        // An entry shorter than its own fields would make the walk stand still or read itself twice.
        if step < 24 {
            break;
        }
        map = map.get(step..).unwrap_or_default();
    }
}

fn string_at<'a>(addr: u64, memory: &impl BootMemory<'a>) -> Option<&'a str> {
    memory.c_string(addr, COMMAND_LINE_MAX).map(text)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn info(flags: u32, fields: &[(usize, u32)]) -> Vec<u8> {
        let mut bytes = vec![0; INFO_SIZE as usize];
        bytes[..4].copy_from_slice(&flags.to_le_bytes());
        for &(offset, value) in fields {
            bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn map_entry(start: u64, len: u64, kind: u32) -> Vec<u8> {
        let mut bytes = 20u32.to_le_bytes().to_vec();
        bytes.extend(start.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes
    }

    #[test]
    fn whole_structure() {
        let mut memory = Pieces::default();
        let flags = HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP | HAS_LOADER_NAME;
        let mut map = map_entry(0, 0x9fc00, 1);
        map.extend(map_entry(0x10_0000, 0x1000_0000, 1));
        let mut modules = Vec::new();
        for word in [
            0x40_0000u32,
            0x40_1234,
            0x5100,
            0,
            0x50_0000,
            0x50_0010,
            0,
            0,
        ] {
            modules.extend(word.to_le_bytes());
        }
        memory
            .put(
                0x1000,
                info(
                    flags,
                    &[
                        (16, 0x5000),
                        (20, 2),
                        (24, 0x5200),
                        (44, 48),
                        (48, 0x5300),
                        (64, 0x5400),
                    ],
                ),
            )
            .put(0x5000, *b"xen.elf loglvl=all\0")
            .put(0x5100, *b"vmlinuz root=/dev/sda quiet\0")
            .put(0x5200, modules)
            .put(0x5300, map)
            .put(0x5400, *b"qemu\0");
        let info = read(0x1000, &memory).unwrap();
        assert_eq!(info.loader, "qemu");
        assert_eq!(info.command_line, "loglvl=all");
        assert_eq!(info.modules.as_slice().len(), 2);
        assert_eq!(
            info.modules.as_slice()[0].range,
            PhysRange::new(0x40_0000, 0x40_1234)
        );
        assert_eq!(
            info.modules.as_slice()[0].command_line,
            "root=/dev/sda quiet"
        );
        assert_eq!(info.modules.as_slice()[1].command_line, "");
        assert_eq!(info.memory.regions().len(), 2);
        assert_eq!(info.memory.ram_bytes(), 0x9fc00 + 0x1000_0000);
    }

    #[test]
    fn classic_memory_numbers_serve_where_there_is_no_map() {
        let mut memory = Pieces::default();
        memory.put(0, info(HAS_MEMORY, &[(4, 639), (8, 1024)]));
        assert_eq!(
            read(0, &memory).unwrap().memory.ram_bytes(),
            (639 + 1024) << 10
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = |memory: &Pieces| read(0x1000, memory).unwrap_err();
        let mut memory = Pieces::default();
        assert_eq!(
            error(&memory),
            BootInfoError::Unreadable("information structure")
        );
        memory.put(0x1000, info(HAS_MODULES, &[(20, u32::MAX), (24, u32::MAX)]));
        assert_eq!(error(&memory), BootInfoError::Unreadable("module list"));
        let mut memory = Pieces::default();
        memory.put(0x1000, info(0, &[]));
        assert_eq!(error(&memory), BootInfoError::NoMemoryMap);
    }

    #[test]
    fn map_entry_of_size_zero_ends_the_walk() {
        let mut regions = Regions::new();
        let mut map = map_entry(0, 0x1000, 1);
        map[0] = 0;
        map.extend(map_entry(0x1000, 0x1000, 1));
        read_map(&map, &mut regions);
        assert_eq!(regions.sanitise().ram_bytes(), 0x1000);
    }
}
