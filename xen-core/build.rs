//! Link arguments of the hypervisor binary; nothing on a host.

fn main() {
    println!("cargo:rerun-if-changed=src/metal/xen.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    // The code is position independent, the image is not: it is linked at its one address, so that nothing has to
    // process relocations before the first Rust function can run.
    for arg in [
        "-no-pie",
        "--no-dynamic-linker",
        "-znoexecstack",
        "-zmax-page-size=4096",
        "--build-id=sha1",
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    println!("cargo:rustc-link-arg-bins=-T{root}/src/metal/xen.ld");
}
