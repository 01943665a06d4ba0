//! The entries of the debug information that describe types, read with gimli into plain records.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gimli::{AttributeValue, DwTag, EndianSlice, LittleEndian, Unit};
use object::{Object, ObjectSection};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Position of an entry in its unit.
pub type Id = usize;

/// One debugging information entry, as far as it matters for layouts.
pub struct Entry {
    pub tag: DwTag,
    pub name: Option<String>,
    /// File that declares it.
    pub file: Option<PathBuf>,
    pub line: u64,
    pub byte_size: Option<u64>,
    /// Type that it refers to.
    pub type_id: Option<Id>,
    /// Offset of a member in bytes.
    pub location: u64,
    /// Offset of a bitfield from the start of the type, in bits.
    pub bit_offset: u64,
    /// Width of a bitfield.
    pub bit_size: Option<u64>,
    /// Elements of a subrange.
    pub count: Option<u64>,
    /// Value of an enumerator.
    pub value: Option<i128>,
    pub is_declaration: bool,
    pub children: Vec<Id>,
}

/// The entries of one compiled source file.
pub struct Entries {
    by_id: HashMap<Id, Entry>,
    /// The entries at file level in order.
    pub top: Vec<Id>,
}

impl Entries {
    /// Reads them from a linked object file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let object = object::File::parse(&*bytes)?;
        let section = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
            let data = object
                .section_by_name(id.name())
                .and_then(|section| section.uncompressed_data().ok());
            Ok(data.unwrap_or_default())
        };
        let sections = gimli::DwarfSections::load(section)?;
        let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
        let header = dwarf.units().next()?.context("no debug information")?;
        let unit = dwarf.unit(header)?;
        let mut entries = Self {
            by_id: HashMap::new(),
            top: Vec::new(),
        };
        let mut tree = unit.entries_tree(None)?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            let id = entries.add(&dwarf, &unit, child)?;
            entries.top.push(id);
        }
        Ok(entries)
    }

    /// The entry at `id`.
    pub fn get(&self, id: Id) -> Result<&Entry> {
        self.by_id
            .get(&id)
            .context("debug information refers to nothing")
    }

    fn add<'a>(
        &mut self,
        dwarf: &gimli::Dwarf<Reader<'a>>,
        unit: &Unit<Reader<'a>>,
        node: gimli::EntriesTreeNode<'_, '_, Reader<'a>>,
    ) -> Result<Id> {
        let die = node.entry();
        let id = die.offset().0;
        let number = |name| die.attr_value(name).and_then(|value| as_number(&value));
        let name = match die.attr_value(gimli::DW_AT_name) {
            Some(value) => Some(
                dwarf
                    .attr_string(unit, value)?
                    .to_string_lossy()
                    .into_owned(),
            ),
            None => None,
        };
        let file = match die.attr_value(gimli::DW_AT_decl_file) {
            Some(AttributeValue::FileIndex(index)) => file_name(dwarf, unit, index)?,
            _ => None,
        };
        let type_id = match die.attr_value(gimli::DW_AT_type) {
            Some(AttributeValue::UnitRef(offset)) => Some(offset.0),
            _ => None,
        };
        let upper =
            number(gimli::DW_AT_upper_bound).map(|bound| u64::try_from(bound + 1).unwrap_or(0));
        let count = number(gimli::DW_AT_count)
            .and_then(|count| u64::try_from(count).ok())
            .or(upper);
        let unsigned = |name| number(name).and_then(|value| u64::try_from(value).ok());
        let mut entry = Entry {
            tag: die.tag(),
            name,
            file,
            line: unsigned(gimli::DW_AT_decl_line).unwrap_or(0),
            byte_size: unsigned(gimli::DW_AT_byte_size),
            type_id,
            location: unsigned(gimli::DW_AT_data_member_location).unwrap_or(0),
            bit_offset: unsigned(gimli::DW_AT_data_bit_offset).unwrap_or(0),
            bit_size: unsigned(gimli::DW_AT_bit_size),
            count,
            value: number(gimli::DW_AT_const_value),
            is_declaration: die.attr_value(gimli::DW_AT_declaration).is_some(),
            children: Vec::new(),
        };
        let mut children = node.children();
        while let Some(child) = children.next()? {
            entry.children.push(self.add(dwarf, unit, child)?);
        }
        self.by_id.insert(id, entry);
        Ok(id)
    }
}

fn as_number(value: &AttributeValue<Reader<'_>>) -> Option<i128> {
    match value {
        AttributeValue::Sdata(number) => Some(i128::from(*number)),
        other => other
            .udata_value()
            .map(i128::from)
            .or_else(|| other.sdata_value().map(i128::from)),
    }
}

fn file_name<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    unit: &Unit<Reader<'a>>,
    index: u64,
) -> Result<Option<PathBuf>> {
    let Some(header) = unit.line_program.as_ref().map(|program| program.header()) else {
        return Ok(None);
    };
    let Some(file) = header.file(index) else {
        return Ok(None);
    };
    let mut path = PathBuf::new();
    if let Some(directory) = file.directory(header) {
        path.push(
            dwarf
                .attr_string(unit, directory)?
                .to_string_lossy()
                .as_ref(),
        );
    }
    path.push(
        dwarf
            .attr_string(unit, file.path_name())?
            .to_string_lossy()
            .as_ref(),
    );
    Ok(Some(path))
}
