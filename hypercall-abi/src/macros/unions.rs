//! `abi_unions!`: C unions of the contract, as plain words with typed views.

/// Defines C unions: `abi_unions! { in TABLE; /// doc pub union Name = "c_name" [u64; 2] { arm: Type, ... } ... }`.
///
/// A Rust `union` would need `unsafe` to read; here the payload is an array of words (whose type gives the alignment) and each arm has
/// `as_arm()`, which copies it out, `set_arm()`, which overwrites the arm's bytes and leaves the rest, and `from_arm()`, which zeroes the rest.
macro_rules! abi_unions {
    (in $table:ident; $(
        $(#[$meta:meta])*
        pub union $name:ident = $c_name:literal [$word:ty; $words:literal] {
            $( $(#[$arm_meta:meta])* $arm:ident : $ty:ty ),* $(,)?
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
            pub struct $name(
                /// The payload as words.
                pub [$word; $words],
            );
            ::pastey::paste! {
                // The methods carry the arm's name in C.
                #[allow(non_snake_case)]
                impl $name {
                    $(
                        $(#[$arm_meta])*
                        #[doc = concat!("\n\nThe payload read as `", stringify!($arm), "`.")]
                        #[must_use]
                        pub fn [<as_ $arm>](&self) -> $ty {
                            const { assert!(::core::mem::size_of::<$ty>() <= ::core::mem::size_of::<$name>()) };
                            // The assertion above makes a short read impossible; zero is what an empty payload means.
                            <$ty as ::zerocopy::FromBytes>::read_from_prefix(::zerocopy::IntoBytes::as_bytes(self))
                                .map_or_else(|_| <$ty as ::zerocopy::FromZeros>::new_zeroed(), |(value, _)| value)
                        }

                        #[doc = concat!("Writes `", stringify!($arm), "` and leaves the bytes beyond it alone.")]
                        pub fn [<set_ $arm>](&mut self, value: $ty) {
                            let bytes = ::zerocopy::IntoBytes::as_mut_bytes(self);
                            for (to, from) in bytes.iter_mut().zip(::zerocopy::IntoBytes::as_bytes(&value)) {
                                *to = *from;
                            }
                        }

                        #[doc = concat!("A payload holding `", stringify!($arm), "`, zero beyond it.")]
                        #[must_use]
                        pub fn [<from_ $arm>](value: $ty) -> Self {
                            let mut payload = <Self as ::zerocopy::FromZeros>::new_zeroed();
                            payload.[<set_ $arm>](value);
                            payload
                        }
                    )*
                }
            }
        )*
        const $table: &[$crate::layout::TypeLayout] = &[$(
            $crate::layout::TypeLayout {
                c_name: $c_name,
                size: ::core::mem::size_of::<$name>(),
                is_union: true,
                fields: &[$(
                    $crate::layout::FieldLayout {
                        name: stringify!($arm),
                        offset: 0,
                        size: ::core::mem::size_of::<$ty>(),
                    },
                )*],
            },
        )*];
    };
}
