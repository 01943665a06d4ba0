//! The macros in which the contract is written. Each defines an item and registers it for the layout test in one go.
//!
//! A module ends with `layout_entries!`, which names every table the module's macro calls made. A table that is forgotten there is
//! dead code, which the build refuses, so nothing escapes the comparison with the C headers.

#[macro_use]
mod structs;
#[macro_use]
mod unions;
#[macro_use]
mod codes;
#[macro_use]
mod constants;
#[macro_use]
mod flags;

#[cfg(test)]
mod tests;

/// Collects the tables of a module: `layout_entries! { types: [STRUCTS], constants: [EvtchnOp::CODES, CONSTANTS] }`.
macro_rules! layout_entries {
    (types: [$($types:expr),* $(,)?], constants: [$($constants:expr),* $(,)?] $(,)?) => {
        /// What this module registers for the layout test.
        #[doc(hidden)]
        pub const LAYOUT: $crate::layout::Entries = $crate::layout::Entries {
            module: module_path!(),
            types: &[$($types),*],
            constants: &[$($constants),*],
        };
    };
}
