//! `constants!`: plain numbers of the contract.

/// Defines constants: `constants! { in TABLE; prefix "XEN_" { /// doc NAME: u32 = 1, ... } ... }`.
///
/// The Rust name is what follows the prefix, in capitals; use the prefix `""` where a shorter name would be ambiguous.
macro_rules! constants {
    (in $table:ident; $(
        prefix $prefix:literal { $( $(#[$meta:meta])* $name:ident : $ty:ty = $value:expr ),* $(,)? }
    )+) => {
        ::pastey::paste! {
            $( $(
                $(#[$meta])*
                #[doc = concat!("\n\n`", $prefix, stringify!($name), "`")]
                pub const [<$name:upper>]: $ty = $value;
            )* )+
            const $table: &[$crate::layout::Constant] = &[$( $(
                $crate::layout::Constant {
                    c_name: concat!($prefix, stringify!($name)),
                    value: [<$name:upper>] as i128,
                },
            )* )+];
        }
    };
}
