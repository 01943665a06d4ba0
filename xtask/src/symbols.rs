//! The hypervisor's symbol table for its own call traces.
//!
//! The linker cannot put names into memory, so they are added here: a table behind the image, and its place in the
//! structure that the hypervisor looks at. Format and structure: `xen-core/src/metal/backtrace.rs`.

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// Recognises the structure that says where the table is: these bytes, then its virtual address and its length.
const PLACE_MAGIC: &[u8; 8] = b"XLSYMTAB";
/// Longer names are cut: generics can make them very long.
const NAME_MAX: usize = 200;

/// Addresses and names of the code of `elf64`, as the hypervisor reads them. Addresses count from `base`.
pub fn table(elf64: &[u8], base: u64) -> Result<Vec<u8>> {
    let file = object::File::parse(elf64).context("the linker's output cannot be read")?;
    let is_text = |index| {
        let section = file.section_by_index(index);
        section.is_ok_and(|section| section.kind() == SectionKind::Text)
    };
    let mut code: Vec<(u32, String)> = file
        .symbols()
        .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown))
        .filter(|symbol| symbol.section_index().is_some_and(is_text))
        .filter_map(|symbol| {
            let offset = u32::try_from(symbol.address().checked_sub(base)?).ok()?;
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some((offset, format!("{:#}", rustc_demangle::demangle(name))))
        })
        .collect();
    code.sort();
    code.dedup_by_key(|(offset, _)| *offset);

    let mut entries = u32::try_from(code.len())?.to_le_bytes().to_vec();
    let mut names = Vec::new();
    for (offset, name) in &code {
        let length = (0..=NAME_MAX.min(name.len()))
            .rev()
            .find(|at| name.is_char_boundary(*at))
            .unwrap_or(0);
        entries.extend(offset.to_le_bytes());
        entries.extend(u32::try_from(names.len())?.to_le_bytes());
        names.extend((length as u16).to_le_bytes());
        names.extend(&name.as_bytes()[..length]);
    }
    entries.extend(names);
    Ok(entries)
}

/// Writes the table's place into the structure in `data`, if it is there. True if it was.
pub fn set_place(data: &mut [u8], start: u64, length: u64) -> Result<bool> {
    let mut places = data
        .windows(PLACE_MAGIC.len())
        .enumerate()
        .filter(|(_, window)| window == PLACE_MAGIC)
        .map(|(at, _)| at);
    let Some(at) = places.next() else {
        return Ok(false);
    };
    ensure!(
        places.next().is_none(),
        "the structure for the symbol table is there twice"
    );
    let fields = data
        .get_mut(at + 8..at + 24)
        .context("the structure for the symbol table is cut off")?;
    fields[..8].copy_from_slice(&start.to_le_bytes());
    fields[8..].copy_from_slice(&length.to_le_bytes());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_written_where_the_magic_is() {
        let mut data = b"....XLSYMTAB________________....".to_vec();
        assert!(set_place(&mut data, 0x1122, 7).unwrap());
        assert_eq!(data[12..20], 0x1122_u64.to_le_bytes());
        assert_eq!(data[20..28], 7_u64.to_le_bytes());
        assert_eq!(&data[28..], b"....");
    }

    #[test]
    fn absent_double_and_cut_structures() {
        assert!(!set_place(&mut [0; 64], 1, 1).unwrap());
        let mut double = b"XLSYMTAB0123456789abcdefXLSYMTAB0123456789abcdef".to_vec();
        assert!(set_place(&mut double, 1, 1).is_err());
        assert!(set_place(&mut b"XLSYMTAB01234".to_vec(), 1, 1).is_err());
    }
}
