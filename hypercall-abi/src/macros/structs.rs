//! `abi_structs!`: C structs of the contract.

/// Defines C structs: `abi_structs! { in TABLE; /// doc pub struct Name = "c_name" [size] { pub field: type } ... }`.
///
/// Each becomes a `#[repr(C)]` struct without implicit padding that any bytes can be read as (checked by zerocopy's derives), with its
/// C name as search alias, its size asserted, and an entry in `TABLE`.
macro_rules! abi_structs {
    (in $table:ident; $(
        $(#[$meta:meta])*
        pub struct $name:ident = $c_name:literal [$size:expr] {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty ),* $(,)?
        }
    )*) => {
        $(
            $(#[$meta])*
            #[doc(alias = $c_name)]
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq,
                ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::Immutable, ::zerocopy::KnownLayout,
            )]
            #[repr(C)]
            pub struct $name {
                $( $(#[$field_meta])* #[allow(missing_docs)] pub $field: $ty, )*
            }
            ::static_assertions::const_assert_eq!(::core::mem::size_of::<$name>(), $size);
        )*
        const $table: &[$crate::layout::TypeLayout] = &[$(
            $crate::layout::TypeLayout {
                c_name: $c_name,
                size: ::core::mem::size_of::<$name>(),
                is_union: false,
                fields: &[$(
                    $crate::layout::FieldLayout {
                        name: stringify!($field),
                        offset: ::core::mem::offset_of!($name, $field),
                        size: ::core::mem::size_of::<$ty>(),
                    },
                )*],
            },
        )*];
    };
}
