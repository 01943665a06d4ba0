//! Structs, unions and enumerators of a header, from the debug information of a compiled one.

use std::collections::HashSet;

use super::dwarf::{Entries, Entry, Id};
use super::headers::{Compiler, Side};
use super::macros::same_file;
use anyhow::{Context, Result};

/// One line of a type.
pub enum Member {
    /// A named member.
    Field {
        name: String,
        offset: u64,
        size: u64,
    },
    /// An anonymous struct or union inside: the names of what it holds.
    Anonymous {
        names: Vec<String>,
        offset: u64,
        size: u64,
    },
    /// Bitfields that share a storage unit: names and masks.
    Bits {
        masks: Vec<(String, u64)>,
        offset: u64,
        size: u64,
    },
}

/// One struct or union.
pub struct TypeDescription {
    pub name: String,
    pub size: u64,
    pub is_union: bool,
    pub members: Vec<Member>,
}

/// What the debug information says of a header.
pub struct Types {
    pub types: Vec<TypeDescription>,
    pub enumerators: Vec<(String, i128)>,
}

/// Compiles the header and reads its types in order of declaration.
pub fn read(compiler: &Compiler, header: &str, side: Side) -> Result<Types> {
    let library = compiler.scratch("types.so");
    let library_name = library
        .to_str()
        .context("a temporary file's name is not UTF-8")?;
    let arguments = [
        "-g",
        "-fno-eliminate-unused-debug-types",
        "-fPIC",
        "-shared",
        "-nostdlib",
        "-O1",
        "-o",
        library_name,
    ];
    compiler.gcc_ok(side, &compiler.source(header, "int anchor;\n"), &arguments)?;
    let entries = Entries::read(&library)?;
    let path = compiler.path_of(header);
    let mut reader = TypeReader {
        entries: &entries,
        done: HashSet::new(),
        types: Vec::new(),
    };
    let mut enumerators = Vec::new();

    let mut named = Vec::new();
    let mut typedefs = Vec::new();
    for &id in &entries.top {
        let entry = entries.get(id)?;
        if !entry
            .file
            .as_deref()
            .is_some_and(|file| same_file(file, &path))
        {
            continue;
        }
        match entry.tag {
            gimli::DW_TAG_enumeration_type => {
                for &child in &entry.children {
                    let child = entries.get(child)?;
                    if child.tag == gimli::DW_TAG_enumerator
                        && let (Some(name), Some(value)) = (&child.name, child.value)
                    {
                        enumerators.push((name.clone(), value));
                    }
                }
            }
            gimli::DW_TAG_typedef => typedefs.push((entry.line, id)),
            _ if is_aggregate(entry) && entry.name.is_some() && !entry.is_declaration => {
                named.push((entry.line, id))
            }
            _ => {}
        }
    }
    named.sort_by_key(|&(line, _)| line);
    for (_, id) in named {
        let name = entries.get(id)?.name.clone().unwrap_or_default();
        reader.describe(id, name)?;
    }
    // An anonymous struct is known by its typedef, unless a member has named it already.
    typedefs.sort_by_key(|&(line, _)| line);
    for (_, id) in typedefs {
        let entry = entries.get(id)?;
        if let (Some(name), Some(target)) = (&entry.name, entry.type_id)
            && is_anonymous_aggregate(entries.get(target)?)
        {
            reader.describe(target, name.clone())?;
        }
    }
    Ok(Types {
        types: reader.types,
        enumerators,
    })
}

fn is_aggregate(entry: &Entry) -> bool {
    matches!(
        entry.tag,
        gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type
    )
}

fn is_anonymous_aggregate(entry: &Entry) -> bool {
    is_aggregate(entry) && entry.name.is_none()
}

struct TypeReader<'a> {
    entries: &'a Entries,
    done: HashSet<Id>,
    types: Vec<TypeDescription>,
}

impl TypeReader<'_> {
    /// Adds the type and the anonymous types of its named members, whose names are paths.
    fn describe(&mut self, id: Id, name: String) -> Result<()> {
        if !self.done.insert(id) {
            return Ok(());
        }
        let entries = self.entries;
        let entry = entries.get(id)?;
        let mut members: Vec<Member> = Vec::new();
        let mut inner = Vec::new();
        for &child in &entry.children {
            let member = entries.get(child)?;
            if member.tag != gimli::DW_TAG_member {
                continue;
            }
            let type_id = member.type_id.context("a member without a type")?;
            let size = self.size_of(type_id)?;
            match (&member.name, member.bit_size) {
                (Some(field), Some(width)) => add_bits(&mut members, field, member, width, size),
                (Some(field), None) => {
                    members.push(Member::Field {
                        name: field.clone(),
                        offset: member.location,
                        size,
                    });
                    let element = self.element_of(type_id)?;
                    if is_anonymous_aggregate(entries.get(element)?) {
                        inner.push((element, format!("{name}.{field}")));
                    }
                }
                (None, _) => {
                    let mut names = Vec::new();
                    self.names_in(type_id, &name, &mut names, &mut inner)?;
                    members.push(Member::Anonymous {
                        names,
                        offset: member.location,
                        size,
                    });
                }
            }
        }
        let size = entry.byte_size.unwrap_or(0);
        self.types.push(TypeDescription {
            name,
            size,
            is_union: entry.tag == gimli::DW_TAG_union_type,
            members,
        });
        for (id, path) in inner {
            self.describe(id, path)?;
        }
        Ok(())
    }

    /// Names of the members of an anonymous type, which C lets a program use as the outer type's own.
    fn names_in(
        &self,
        id: Id,
        outer: &str,
        names: &mut Vec<String>,
        inner: &mut Vec<(Id, String)>,
    ) -> Result<()> {
        for &child in &self.entries.get(id)?.children {
            let member = self.entries.get(child)?;
            let type_id = member.type_id.context("a member without a type")?;
            match &member.name {
                Some(name) => {
                    names.push(name.clone());
                    let element = self.element_of(type_id)?;
                    if is_anonymous_aggregate(self.entries.get(element)?) {
                        inner.push((element, format!("{outer}.{name}")));
                    }
                }
                None => self.names_in(type_id, outer, names, inner)?,
            }
        }
        Ok(())
    }

    /// The type of an array's elements, or the type itself.
    fn element_of(&self, id: Id) -> Result<Id> {
        let entry = self.entries.get(id)?;
        match (entry.tag, entry.type_id) {
            (gimli::DW_TAG_array_type, Some(element)) => self.element_of(element),
            _ => Ok(id),
        }
    }

    fn size_of(&self, id: Id) -> Result<u64> {
        let entry = self.entries.get(id)?;
        if entry.tag == gimli::DW_TAG_pointer_type {
            return Ok(8);
        }
        if entry.tag == gimli::DW_TAG_array_type {
            let mut size = self.size_of(entry.type_id.context("an array of nothing")?)?;
            for &range in &entry.children {
                size *= self.entries.get(range)?.count.unwrap_or(0);
            }
            return Ok(size);
        }
        match (entry.byte_size, entry.type_id) {
            (Some(size), _) => Ok(size),
            (None, Some(target)) => self.size_of(target),
            (None, None) => Ok(0),
        }
    }
}

fn add_bits(members: &mut Vec<Member>, name: &str, member: &Entry, width: u64, unit: u64) {
    // A storage unit of the declared type, as the System V ABI lays bitfields out on x86-64.
    let storage = member.bit_offset / (unit * 8) * unit;
    let mask = u64::MAX >> (64 - width) << (member.bit_offset - storage * 8);
    if let Some(Member::Bits {
        masks,
        offset,
        size,
    }) = members.last_mut()
        && *offset == storage
        && *size == unit
    {
        masks.push((name.to_owned(), mask));
        return;
    }
    members.push(Member::Bits {
        masks: vec![(name.to_owned(), mask)],
        offset: storage,
        size: unit,
    });
}
