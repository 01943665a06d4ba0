//! `codes!`: numbers that a guest chooses, as open newtypes.

/// Defines a newtype with named values: `codes! { /// doc pub struct Name(u32); prefix "C_PREFIX_" { /// doc rest_of_c_name = 0, ... } }`.
///
/// A Rust `enum` may not hold a number it does not list, and a guest may send any; so the type is a transparent wrapper, matched against
/// associated constants named as in C without the prefix and in capitals. `Debug` prints the name where there is one.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($int:ty);
        $( prefix $prefix:literal { $( $(#[$value_meta:meta])* $value_name:ident = $value:expr ),* $(,)? } )+
    ) => {
        ::pastey::paste! {
            $(#[$meta])*
            #[derive(
                Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
                ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::Immutable, ::zerocopy::KnownLayout,
            )]
            #[repr(transparent)]
            pub struct $name(
                /// The number as the guest gave it.
                pub $int,
            );

            impl $name {
                $( $(
                    $(#[$value_meta])*
                    #[doc = concat!("\n\n`", $prefix, stringify!($value_name), "`")]
                    pub const [<$value_name:upper>]: Self = Self($value);
                )* )+

                pub(crate) const CODES: &'static [$crate::layout::Constant] = &[$( $(
                    $crate::layout::Constant {
                        c_name: concat!($prefix, stringify!([<$value_name>])),
                        value: $value as i128,
                    },
                )* )+];

                /// Xen's name of the number; of several with the same number the first. `None` if the contract does not name it.
                #[must_use]
                pub fn name(self) -> Option<&'static str> {
                    Self::CODES.iter().find(|code| code.value == i128::from(self.0)).map(|code| code.c_name)
                }
            }

            impl ::core::fmt::Debug for $name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    match self.name() {
                        Some(name) => f.write_str(name),
                        None => write!(f, concat!(stringify!($name), "({:#x})"), self.0),
                    }
                }
            }
        }
    };
}
