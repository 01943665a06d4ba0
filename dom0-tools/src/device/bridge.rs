//! Bridges in dom0.

use crate::domain::{Code, ToolError};
use crate::sys::netlink::Netlink;

/// The bridge of network cards that name none, made when it is missing.
pub const DEFAULT: &str = "xenbr0";

/// Refuses a bridge that does not exist.
///
/// # Errors
/// There is no such bridge; the message lists those that there are.
pub fn check(name: &str) -> Result<(), ToolError> {
    let bridges = all();
    if bridges.iter().any(|bridge| bridge == name) {
        return Ok(());
    }
    if std::path::Path::new("/sys/class/net").join(name).exists() {
        return Err(ToolError::new(
            Code::NotFound,
            format!("bridge={name} is a network interface, but not a bridge"),
        ));
    }
    let known = if bridges.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", bridges.join(", "))
    };
    Err(ToolError::new(
        Code::NotFound,
        format!(
            "bridge {name} does not exist ({known}): make it (ip link add {name} type bridge; ip link set {name} up), or leave \
             bridge= out for {DEFAULT}, which is made by itself"
        ),
    ))
}

/// Makes the bridge `name` unless it is there, and switches it on.
///
/// # Errors
/// The kernel has no bridges, or the name is something else.
pub fn ensure(name: &str) -> Result<(), ToolError> {
    let link = format!("bridge {name}");
    let failed = |error: std::io::Error| {
        ToolError::from(error).context(format!(
            "{link} cannot be made (is the kernel module bridge loaded?)"
        ))
    };
    let netlink = Netlink::open().map_err(failed)?;
    if netlink.index(name).map_err(failed)?.is_none() {
        match netlink.add_bridge(name) {
            // Made by another creator at the same time.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
    }
    check(name)?;
    let index = netlink.index(name).map_err(failed)?;
    let index = index.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    netlink.set_up(index).map_err(failed)
}

/// The bridges that there are.
#[must_use]
pub fn all() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let mut names: Vec<String> = folder
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("bridge").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
