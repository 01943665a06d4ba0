//! `flags!`: words of independent bits.

/// Defines a bitflags type: `flags! { /// doc pub struct Name(u32); prefix "C_PREFIX_" { /// doc rest_of_c_name = 1 << 0, ... } }`.
///
/// Fields of structs stay plain integers: a guest may set bits nobody named. `Name::from_bits_retain(word)` keeps them,
/// `Name::from_bits(word)` refuses them.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($int:ty);
        $( prefix $prefix:literal { $( $(#[$($value_meta:tt)*])* $value_name:ident = $value:expr ),* $(,)? } )+
    ) => {
        ::pastey::paste! {
            $(#[$meta])*
            #[derive(
                Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
                ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::Immutable, ::zerocopy::KnownLayout,
            )]
            #[repr(transparent)]
            pub struct $name($int);

            ::bitflags::bitflags! {
                impl $name: $int {
                    $( $(
                        $(#[$($value_meta)*])*
                        #[doc = concat!("\n\n`", $prefix, stringify!($value_name), "`")]
                        const [<$value_name:upper>] = $value;
                    )* )+
                }
            }

            impl $name {
                pub(crate) const CODES: &'static [$crate::layout::Constant] = &[$( $(
                    $crate::layout::Constant {
                        c_name: concat!($prefix, stringify!($value_name)),
                        value: $value as i128,
                    },
                )* )+];
            }

            impl ::core::fmt::Debug for $name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.write_str(concat!(stringify!($name), "("))?;
                    ::bitflags::parser::to_writer(self, &mut *f)?;
                    f.write_str(")")
                }
            }
        }
    };
}
