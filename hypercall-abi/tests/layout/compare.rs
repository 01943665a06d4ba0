//! Compares one item of the crate with its description.

use hypercall_abi::layout::{FieldLayout, TypeLayout};

use crate::golden::{Member, MemberKind, TypeDescription};

/// Whether two numbers are the same; C spells some 32-bit masks as negative `int`s.
pub fn same_value(ours: i128, theirs: i128) -> bool {
    ours == theirs || (theirs < 0 && i128::from(theirs as u32) == ours)
}

/// Adds a line to `problems` for every difference.
pub fn compare_type(ours: &TypeLayout, theirs: &TypeDescription, problems: &mut Vec<String>) {
    let name = ours.c_name;
    if ours.size != theirs.size {
        problems.push(format!("{name}: {} bytes, in C {}", ours.size, theirs.size));
    }
    if ours.is_union != theirs.is_union {
        problems.push(format!("{name}: struct or union?"));
    }
    for member in &theirs.members {
        if let Some(problem) = compare_member(ours, member) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    for field in ours.fields {
        if !is_known(field, theirs) {
            problems.push(format!(
                "{name}: C has no field {} at {}",
                field_name(field),
                field.offset
            ));
        }
    }
}

/// Name without the `r#` of Rust's keywords.
fn field_name(field: &FieldLayout) -> &str {
    field.name.trim_start_matches("r#")
}

fn compare_member(ours: &TypeLayout, member: &Member) -> Option<String> {
    match &member.kind {
        MemberKind::Field(name) => {
            let Some(field) = ours.fields.iter().find(|field| field_name(field) == name) else {
                return Some(format!("no field {name}"));
            };
            let (here, there) = ((field.offset, field.size), (member.offset, member.size));
            (here != there).then(|| {
                format!(
                    "{name} at {} with {} bytes, in C at {} with {}",
                    here.0, here.1, there.0, there.1
                )
            })
        }
        MemberKind::Anonymous(names) => {
            let inside = || ours.fields.iter().filter(|field| lies_in(field, member));
            if !inside().any(|field| names.iter().any(|name| name == field_name(field))) {
                return Some(format!("none of {names:?}"));
            }
            is_uncovered(inside(), member)
        }
        MemberKind::Bits => is_uncovered(
            ours.fields.iter().filter(|field| lies_in(field, member)),
            member,
        ),
    }
}

fn is_uncovered<'a>(
    fields: impl Iterator<Item = &'a FieldLayout>,
    member: &Member,
) -> Option<String> {
    let covered: usize = fields.map(|field| field.size).sum();
    (covered != member.size)
        .then(|| format!("{covered} bytes at {}, in C {}", member.offset, member.size))
}

fn lies_in(field: &FieldLayout, member: &Member) -> bool {
    field.offset >= member.offset && field.offset + field.size <= member.offset + member.size
}

fn is_known(field: &FieldLayout, theirs: &TypeDescription) -> bool {
    let named = theirs.members.iter().any(|member| match &member.kind {
        MemberKind::Field(name) => name == field_name(field),
        MemberKind::Anonymous(_) | MemberKind::Bits => lies_in(field, member),
    });
    let is_hole = || {
        let end = field.offset + field.size;
        field.name.starts_with("_pad")
            && theirs
                .members
                .iter()
                .all(|member| end <= member.offset || member.offset + member.size <= field.offset)
    };
    named || is_hole()
}

#[test]
fn a_wrong_offset_size_name_or_pad_is_found() {
    const FIELDS: &[FieldLayout] = &[
        FieldLayout {
            name: "a",
            offset: 0,
            size: 4,
        },
        FieldLayout {
            name: "_pad",
            offset: 4,
            size: 4,
        },
        FieldLayout {
            name: "r#type",
            offset: 8,
            size: 8,
        },
    ];
    let ours = TypeLayout {
        c_name: "s",
        size: 16,
        is_union: false,
        fields: FIELDS,
    };
    let field = |name: &str, offset, size| Member {
        kind: MemberKind::Field(name.to_owned()),
        offset,
        size,
    };
    let problems = |members: Vec<Member>, size| {
        let mut problems = Vec::new();
        compare_type(
            &ours,
            &TypeDescription {
                header: String::new(),
                size,
                is_union: false,
                members,
            },
            &mut problems,
        );
        problems.len()
    };
    assert_eq!(problems(vec![field("a", 0, 4), field("type", 8, 8)], 16), 0);
    assert_eq!(problems(vec![field("a", 0, 4), field("type", 8, 8)], 24), 1);
    assert_eq!(
        problems(vec![field("a", 0, 8), field("type", 8, 8)], 16),
        2,
        "size of a, and the pad covers it"
    );
    assert_eq!(
        problems(vec![field("b", 0, 4), field("type", 8, 8)], 16),
        2,
        "b is missing, a is unknown"
    );
    let anonymous = |names: &[&str]| Member {
        kind: MemberKind::Anonymous(names.iter().map(|&n| n.to_owned()).collect()),
        offset: 0,
        size: 4,
    };
    assert_eq!(
        problems(vec![anonymous(&["a", "b"]), field("type", 8, 8)], 16),
        0
    );
    assert_eq!(
        problems(vec![anonymous(&["b"]), field("type", 8, 8)], 16),
        1
    );
    assert!(same_value(0x8000_0000, -0x8000_0000) && !same_value(1, -1));
}
