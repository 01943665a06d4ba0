//! What the boot loader tells: bytes in, facts out.
//!
//! [`multiboot1`] and [`multiboot2`] read the two boot protocols into one [`BootInfo`]; [`options`] reads the options,
//! [`e820`] makes a memory map that can be trusted, [`efi`] reads UEFI's tables, [`plan`] decides which memory becomes the hypervisor's own,
//! [`rtc`] reads the battery-backed clock.

pub mod bytes;
pub mod e820;
pub mod efi;
pub mod firmware;
pub mod modules;
pub mod multiboot1;
pub mod multiboot2;
pub mod numa;
pub mod options;
pub mod plan;
pub mod rtc;

use arrayvec::ArrayVec;

use e820::E820;
use modules::Modules;

/// Physical memory as boot code may read it.
pub trait BootMemory<'a> {
    /// The `len` bytes at physical address `addr`, or `None` where they cannot be read.
    fn bytes(&self, addr: u64, len: u64) -> Option<&'a [u8]>;

    /// The bytes of a NUL-terminated string at `addr`, without the NUL; at most `limit` bytes are looked at, and a
    /// string that has no end there is cut.
    fn c_string(&self, addr: u64, limit: u64) -> Option<&'a [u8]> {
        let mut len = 0;
        while len < limit {
            match self.bytes(addr.checked_add(len)?, 1) {
                Some([0]) => break,
                Some(_) => len += 1,
                None => return None,
            }
        }
        self.bytes(addr, len)
    }
}

/// Longest command line that is read.
pub const COMMAND_LINE_MAX: u64 = 4096;

/// What a boot loader passed, whichever protocol it used.
#[derive(Debug, Default)]
pub struct BootInfo<'a> {
    /// Name of the loader, if it gave one.
    pub loader: &'a str,
    /// Options of the hypervisor, without the image's name.
    pub command_line: &'a str,
    /// Memory map, sorted and without overlaps.
    pub memory: E820,
    /// Modules in the loader's order: the first is the control domain's kernel.
    pub modules: Modules<'a>,
    /// Where the protocol's own data lies: not to be reused before it was read.
    pub reserved: ArrayVec<modules::PhysRange, 8>,
    /// Copy of the ACPI root pointer, if the loader passed one.
    pub rsdp: Option<&'a [u8]>,
    /// EFI system table, if booted by UEFI.
    pub efi_system_table: Option<u64>,
    /// The loader's copy of UEFI's memory map (see [`efi::memory_map`]).
    pub efi_memory_map: Option<&'a [u8]>,
}

/// Why a boot loader's data cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootInfoError {
    /// Neither protocol's magic number.
    UnknownLoader(u32),
    /// A structure lies outside of readable memory or is truncated.
    Unreadable(&'static str),
    /// The loader passed no memory map.
    NoMemoryMap,
}

impl core::fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::UnknownLoader(magic) => {
                write!(f, "not started by a multiboot loader (magic {magic:#010x})")
            }
            Self::Unreadable(what) => write!(f, "the boot loader's {what} cannot be read"),
            Self::NoMemoryMap => write!(f, "the boot loader passed no memory map"),
        }
    }
}

/// Reads what the loader left at `info`, by the protocol that `magic` names.
pub fn read<'a>(
    magic: u32,
    info: u64,
    memory: &impl BootMemory<'a>,
) -> Result<BootInfo<'a>, BootInfoError> {
    match magic {
        multiboot1::LOADER_MAGIC => multiboot1::read(info, memory),
        multiboot2::LOADER_MAGIC => multiboot2::read(info, memory),
        other => Err(BootInfoError::UnknownLoader(other)),
    }
}

/// A command line as text; bytes that are not UTF-8 end it.
fn text(bytes: &[u8]) -> &str {
    let bytes = bytes.split(|&b| b == 0).next().unwrap_or_default();
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

/// A command line without the image's name in front. GRUB 2 does not put it there, other loaders do.
fn without_image_name<'a>(loader: &str, line: &'a str) -> &'a str {
    let line = line.trim_start();
    if loader.starts_with("GRUB 2") {
        return line;
    }
    line.split_once(' ')
        .map_or("", |(_, rest)| rest.trim_start())
}

#[cfg(test)]
pub(crate) mod testing {
    //! Boot memory made of pieces.

    use super::BootMemory;
    use std::boxed::Box;
    use std::vec::Vec;

    /// Physical memory with a few pieces of content; the rest cannot be read.
    #[derive(Default)]
    pub(crate) struct Pieces(Vec<(u64, &'static [u8])>);

    impl Pieces {
        /// Adds `content` at `addr`.
        pub(crate) fn put(&mut self, addr: u64, content: impl Into<Vec<u8>>) -> &mut Self {
            self.0
                .push((addr, Box::leak(content.into().into_boxed_slice())));
            self
        }
    }

    impl BootMemory<'static> for Pieces {
        fn bytes(&self, addr: u64, len: u64) -> Option<&'static [u8]> {
            self.0.iter().find_map(|(start, content)| {
                let from = usize::try_from(addr.checked_sub(*start)?).ok()?;
                content.get(from..from.checked_add(usize::try_from(len).ok()?)?)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_name_is_dropped_except_under_grub() {
        assert_eq!(
            without_image_name("qemu", "/boot/xen.elf com1=9600  loglvl=all"),
            "com1=9600  loglvl=all"
        );
        assert_eq!(without_image_name("qemu", "xen.elf"), "");
        assert_eq!(without_image_name("GRUB 2.06", " com1=9600"), "com1=9600");
    }

    #[test]
    fn text_stops_at_nul_and_at_bad_utf8() {
        assert_eq!(text(b"abc\0def"), "abc");
        assert_eq!(text(b"ab\xffc"), "ab");
    }

    #[test]
    fn unknown_magic_is_refused() {
        let error = read(7, 0, &testing::Pieces::default()).unwrap_err();
        assert_eq!(error, BootInfoError::UnknownLoader(7));
    }
}
