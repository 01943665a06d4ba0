//! Reads `layout.golden`; its head describes the format.

use std::collections::BTreeMap;

/// One line of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub kind: MemberKind,
    pub offset: usize,
    pub size: usize,
}

/// What the line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    Field(String),
    /// Members of an anonymous struct or union: one of them must be in the crate.
    Anonymous(Vec<String>),
    /// Bitfields: the crate has the storage unit under any name.
    Bits,
}

#[derive(Clone, Debug)]
pub struct TypeDescription {
    pub header: String,
    pub size: usize,
    pub is_union: bool,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug)]
pub struct ConstantDescription {
    pub header: String,
    pub value: i128,
}

pub struct Golden {
    pub types: BTreeMap<String, TypeDescription>,
    pub constants: BTreeMap<String, ConstantDescription>,
    /// Names that two headers define differently.
    pub conflicts: Vec<String>,
}

impl Golden {
    pub fn parse(text: &str) -> Self {
        let mut golden = Self {
            types: BTreeMap::new(),
            constants: BTreeMap::new(),
            conflicts: Vec::new(),
        };
        let mut header = String::new();
        let mut current: Option<(String, TypeDescription)> = None;
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            if let Some(member) = line.strip_prefix("  ") {
                let (_, described) = current.as_mut().expect("a member belongs to a type");
                described.members.push(parse_member(member));
                continue;
            }
            golden.finish(current.take());
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["header", name] => name.clone_into(&mut header),
                [kind @ ("struct" | "union"), name, size] => {
                    let size = size.parse().expect("a size");
                    let described = TypeDescription {
                        header: header.clone(),
                        size,
                        is_union: kind == "union",
                        members: Vec::new(),
                    };
                    current = Some((name.to_owned(), described));
                }
                ["const", name, value] => {
                    let value = value.parse().expect("a value");
                    let described = ConstantDescription {
                        header: header.clone(),
                        value,
                    };
                    if let Some(old) = golden.constants.insert(name.to_owned(), described)
                        && old.value != value
                    {
                        golden
                            .conflicts
                            .push(format!("const {name} of {} and {header}", old.header));
                    }
                }
                _ => panic!("not understood: {line}"),
            }
        }
        golden.finish(current);
        golden
    }

    fn finish(&mut self, current: Option<(String, TypeDescription)>) {
        let Some((name, described)) = current else {
            return;
        };
        if let Some(old) = self.types.insert(name.clone(), described.clone())
            && (old.size, &old.members) != (described.size, &described.members)
        {
            self.conflicts.push(format!(
                "type {name} of {} and {}",
                old.header, described.header
            ));
        }
    }
}

fn parse_member(line: &str) -> Member {
    let mut words = line.rsplitn(3, ' ');
    let size = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a size");
    let offset = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("an offset");
    let names = words.next().expect("a name");
    let kind = if let Some(list) = names.strip_prefix('(') {
        MemberKind::Anonymous(
            list.trim_end_matches(')')
                .split(' ')
                .map(str::to_owned)
                .collect(),
        )
    } else if names.starts_with('[') {
        MemberKind::Bits
    } else {
        MemberKind::Field(names.to_owned())
    };
    Member { kind, offset, size }
}
