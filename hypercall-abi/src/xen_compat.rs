//! `xen-compat.h`: versions of the interface. A guest chooses one when it is compiled; this crate is the latest.

constants! {
    in CONSTANTS;
    prefix "__XEN_" {
        LATEST_INTERFACE_VERSION__: u32 = 0x4_0e00,
        INTERFACE_VERSION__: u32 = 0x4_0e00,
    }
}

layout_entries! { types: [], constants: [CONSTANTS] }
