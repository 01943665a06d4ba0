//! What the layout test reads: the C name, size and field offsets of every type, the C name and value of every constant.
//!
//! The macros of this crate fill these tables from the definitions themselves, so no offset and no number is typed twice.
//! `tests/layout.rs` compares them with `tests/layout.golden`, which `cargo xtask layout` derives from Xen's own headers.

/// One member of a struct, or one arm of a union (then `offset` is 0).
#[derive(Clone, Copy, Debug)]
pub struct FieldLayout {
    /// Name of the member in C.
    pub name: &'static str,
    /// Distance from the start of the type, in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

/// One struct or union.
#[derive(Clone, Copy, Debug)]
pub struct TypeLayout {
    /// Tag or typedef name in C; an anonymous member type is named by its path, as in `evtchn_status.u.unbound`.
    pub c_name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Whether it is a union in C.
    pub is_union: bool,
    /// The members in order.
    pub fields: &'static [FieldLayout],
}

/// One numeric constant.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Name of the macro or enumerator in C.
    pub c_name: &'static str,
    /// Its value, in a type wide enough for both `u64` and negative status codes.
    pub value: i128,
}

/// Everything one module registers.
#[derive(Clone, Copy, Debug)]
pub struct Entries {
    /// Path of the module.
    pub module: &'static str,
    /// Types, one slice per macro call.
    pub types: &'static [&'static [TypeLayout]],
    /// Constants, one slice per macro call.
    pub constants: &'static [&'static [Constant]],
}
