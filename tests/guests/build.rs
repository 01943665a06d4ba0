//! Links the guests with the shim's linker script.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pv-guest-shim/link.ld");
        println!("cargo:rustc-link-arg-bins=-T{script}");
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rerun-if-changed={script}");
    }
}
